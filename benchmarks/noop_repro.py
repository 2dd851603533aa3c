"""What `make repro` costs where nothing is stale, beside `dvc status`, which looks and does nothing."""

from benchmarks.parts import clone, ratios

TITLE = "`dvc status`; ours `make repro` where nothing is stale"
NEEDS = ("dvc",)


def measure() -> ratios.Ratio:
    """The same project, up to date, on both sides."""
    clone.ran()
    return ratios.ratio(clone.ran, lambda: clone.shell("dvc status"), pairs=5)
