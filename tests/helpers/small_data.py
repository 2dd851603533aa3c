"""The small data sets of tests/data, which README.md there describes: their folders, and how they are prepared."""

from pathlib import Path

from pipeline.params import Dataset, Params
from pipeline.prepare import stage
from pipeline.sample import Sample
from pipeline.shards import Shards, split

DATA = Path(__file__).parents[1] / "data"
#: set → its format
FORMATS = {
    "classes": "image_folder",
    "coco": "coco",
    "csv": "csv",
    "idx": "idx",
    "masks": "mask_png",
    "voc": "voc",
    "yolo": "yolo",
}


def prepare(name: str, root: Path) -> Path:
    """Prepare one of them below `root`; returns the prepared data set's folder."""
    (root / name).symlink_to(DATA / name)
    stage.run(Params(datasets={name: Dataset(format=FORMATS[name], path=name)}, jobs={}), root)
    return root / "data" / "prepared" / name


def samples(prepared: Path) -> dict[str, Sample]:
    """All samples of a prepared data set, by the name of the image's file without folder and suffix."""
    parts: list[Shards] = [split(prepared, name) for name in ("train", "val", "test")]
    return {Path(sample.id).stem: sample for part in parts for sample in part}
