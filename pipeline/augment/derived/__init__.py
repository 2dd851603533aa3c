"""One file, one derived field: what annotations alone decide, computed once by augment and joined to the samples.

- `FIELD`, the field of Sample that it fills, and `SPLITS`, those that it is wanted for; both literals
- `build(*, options)` gives a function of a sample as stored, whose array every transform moves with the image

`datasets.<name>.derived` says with which options; a job gets the field by a loss option of the file's name.
"""

from typing import TYPE_CHECKING

from pipeline import plugins

if TYPE_CHECKING:
    from pipeline.params import Job


def asked_by(job: "Job") -> list[str]:
    """The derived fields that a job's loss uses."""
    return [name for name in plugins.names("augment.derived") if job.loss.get(name)]
