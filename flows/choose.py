"""The first stage: which jobs were asked for → reports/chosen.json; null stands for the roster of params.yaml.

`CONVLINE_JOBS` holds their names. DVC does not see variables, so it runs this stage every time, and the stages that
depend on its file run if the choice changed. It imports nothing of ours, to take no time.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

VARIABLE, FILE = "CONVLINE_JOBS", Path("reports/chosen.json")


def content(words: Sequence[str]) -> str:
    """What the file has where these names were asked for."""
    return json.dumps({"jobs": sorted(set(words)) or None}) + "\n"


def choose(root: Path, words: list[str]) -> None:
    """Write the names, if they are not what the file has."""
    text = content(words)
    path = root / FILE
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    choose(Path.cwd(), os.environ.get(VARIABLE, "").split())
