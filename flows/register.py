"""Every measured model → one MLflow run and version; the best is the champion."""

from pathlib import Path

from flows import _unchanged
from flows._run import stage
from pipeline import registered
from pipeline.params import Params
from pipeline.register import stage as register_stage


def run(params: Params, root: Path) -> None:
    """The register stage; the next `make repro` need not repeat it if MLflow is as it was left.

    What is said of an untrusted champion is repeated until somebody acts.
    """
    register_stage.run(params, root)
    if all(entry["decision"].get("trusted", True) for entry in registered.entries(root).values()):
        _unchanged.note(root, "records", _unchanged.records(root))


if __name__ == "__main__":
    stage("register", run)
