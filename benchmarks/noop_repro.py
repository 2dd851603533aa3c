"""What `make repro` costs where nothing is stale, beside `dvc status`, which looks and does nothing."""

from benchmarks import _clone, _pairs

TITLE = "`dvc status`; ours `make repro` where nothing is stale"
NEEDS = ("dvc",)


def measure() -> _pairs.Ratio:
    """The same project, up to date, on both sides."""
    _clone.ran()
    return _pairs.ratio(_clone.ran, lambda: _clone.shell("dvc status"), pairs=5)
