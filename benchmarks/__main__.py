"""Runs every benchmark of this folder and writes `.work/benchmarks.json`; the folder listing is the registry.

Both sides of a ratio alternate in one process, so the machine's other work falls on both. A run above a load
of one a core is told as such.
"""

import importlib
import os
from pathlib import Path

from pipeline import store

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Print a line a benchmark."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))
    found = {}
    for name in names:
        module = importlib.import_module(f"benchmarks.{name}")
        found[name] = {**module.measure(), "load": os.getloadavg()[0], "cores": os.cpu_count()}
        low, ratio, high = (found[name][key] for key in ("low", "ratio", "high"))
        busy = " (the machine was busy)" if found[name]["load"] > (os.cpu_count() or 1) else ""
        print(f"{name}: {module.TITLE}: {ratio:.3f} [{low:.3f}, {high:.3f}]{busy}")
    store.write_json(ROOT / ".work/benchmarks.json", found)


if __name__ == "__main__":
    main()
