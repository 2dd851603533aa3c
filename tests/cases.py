"""Builds inputs that users bring, and prints what `convline add` says of each: `python -m tests.cases FOLDER [WORD…]`.

FOLDER holds scripts `NNN-name.py` that write an input to the folder given to them, below their own name. Each is added
to an empty project with `--dry-run`; WORDs choose scripts by a part of their name. The verdicts: `crash` (a traceback,
or an exit code other than 0 and 2), `hang` (LIMIT seconds), `refused`, `read`. Whether a refusal is clear, and what is
read right, is for a person to say. Exit code 1 if any crashed or hung.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

LIMIT = 120.0
CODE = Path(__file__).resolve().parents[1]
PARAMS = "roster: all\ndatasets: {}\njobs: {}\n"


def build(script: Path, folder: Path) -> Path:
    """Run a builder; returns the folder that it made."""
    subprocess.run([sys.executable, script, folder], cwd=script.parent, check=True, capture_output=True, timeout=LIMIT)
    (made,) = folder.iterdir()
    return made


def try_to_add(source: Path, project: Path) -> tuple[str, str]:
    """The verdict on one input, and what was printed."""
    command = [sys.executable, "-m", "convline", "add", str(source), "--dry-run"]
    environment = os.environ | {"PYTHONPATH": str(CODE)}
    try:
        ended = subprocess.run(
            command, cwd=project, env=environment, capture_output=True, text=True, errors="replace", timeout=LIMIT
        )
    except subprocess.TimeoutExpired:
        return "hang", ""
    text = (ended.stdout + ended.stderr).replace(str(source), "@")
    crashed = ended.returncode not in {0, 2} or "Traceback" in text
    return "crash" if crashed else "refused" if ended.returncode else "read", text


def main() -> int:
    """Print every input's verdict with its seconds and text."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("words", nargs="*")
    chosen = parser.parse_args()
    verdicts: Counter[str] = Counter()
    for script in sorted(chosen.folder.resolve().glob("[0-9]*-*.py")):
        if chosen.words and not any(word in script.stem for word in chosen.words):
            continue
        with tempfile.TemporaryDirectory() as scratch:
            project = Path(scratch, "project")
            (project / ".git").mkdir(parents=True)
            (project / "params.yaml").write_text(PARAMS)
            shutil.copy(CODE / "dvc.yaml", project)
            started = time.monotonic()
            verdict, text = try_to_add(build(script, Path(scratch, "input")), project)
            verdicts[verdict] += 1
            print(f"## {script.stem}: {verdict} ({time.monotonic() - started:.1f} s)\n{text}", flush=True)
    print(", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items())))
    return int(bool(verdicts["crash"] or verdicts["hang"]))


if __name__ == "__main__":
    sys.exit(main())
