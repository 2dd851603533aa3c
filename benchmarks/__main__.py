"""`python -m benchmarks [NAME …]`: our seconds for a piece of work / those of a peer or a bare loop, as a table.

The folder listing is the registry: a benchmark is a file with `TITLE`, `NEEDS` (packages that the environment may
lack) and `measure()`. Both sides of a ratio alternate in one process, so the machine's other work falls on both; a
row that was taken above a load of one a core is marked. All numbers go to `.work/benchmarks.json`.
"""

import argparse
import importlib
import importlib.util
import os
import platform
import sys
from pathlib import Path
from typing import Any

from pipeline import plugins, store

ROOT = Path(__file__).parent.parent
OUTPUT = ROOT / ".work/benchmarks.json"


def main() -> int:
    """Measure what is named, or all, and print a row each; --list only names them."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Ratios against bare loops and peers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run; all if none is named")
    parser.add_argument("--list", action="store_true", help="name them and run none")
    chosen = parser.parse_args()
    for name in chosen.names:
        if name not in names:
            print(plugins.unknown("benchmark", name, names), file=sys.stderr)
            return 2
    modules = {name: importlib.import_module(f"benchmarks.{name}") for name in chosen.names or names}
    if chosen.list:
        for name, module in modules.items():
            print(f"{name:<20}{module.TITLE}")
        return 0
    print(f"{_processor()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}\n")
    print("| benchmark | our seconds / those of | ours s | theirs s | ratio [quartiles] | pairs | load |")
    print("|---|---|---|---|---|---|---|")
    results = store.read_json(OUTPUT, {})
    for name, module in modules.items():
        missing = [package for package in module.NEEDS if importlib.util.find_spec(package) is None]
        if missing:
            print(f"| {name} | {module.TITLE} | | | not measured: needs {', '.join(missing)} | | |", flush=True)
            continue
        before = os.getloadavg()[0]
        results[name] = {**module.measure(), "load": max(before, os.getloadavg()[0]), "cores": os.cpu_count()}
        print(_row(name, module.TITLE, results[name]), flush=True)
    store.write_json(OUTPUT, results)
    return 0


def _row(name: str, title: str, result: dict[str, Any]) -> str:
    ratio = f"{result['ratio']:.3g} [{result['low']:.3g}, {result['high']:.3g}]"
    busy = " (busy)" if result["load"] > result["cores"] else ""
    seconds = f"{result['ours_s']:.3g} | {result['theirs_s']:.3g}"
    return f"| {name} | {title} | {seconds} | {ratio} | {result['pairs']} | {result['load']:.1f}{busy} |"


def _processor() -> str:
    """The processor's name where the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    sys.exit(main())
