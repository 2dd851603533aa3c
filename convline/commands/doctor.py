"""Say what is wrong with the project, and what to do about it.

The exit code is 1 if anything is wrong. Nothing is changed.
"""

from dataclasses import asdict
from pathlib import Path

from convline.frame import Json
from pipeline.terminal import json_line, output


def command(json: Json = False) -> int:
    """Make every check and print the findings; returns 1 if there are any."""
    from convline import checking

    count, checks = 0, []
    for name, findings, notes in checking.check(Path.cwd()):
        count += len(findings)
        if json:
            checks.append({"check": name, "findings": [asdict(finding) for finding in findings], "notes": notes})
            continue
        state, told = f"{len(findings)} found" if findings else "fine", "; ".join(notes)
        output(f"{name:<9} {state}{f' ({told})' if told else ''}")
        for finding in findings:
            output(f"  - {finding.what}\n    {finding.remedy}")
    output(json_line({"found": count, "checks": checks}) if json else f"\n{count or 'nothing'} found")
    return 1 if count else 0
