"""Exports of common tools that no format reads: each is named in one line, with what to export instead."""

import re
from dataclasses import dataclass

from pipeline.images import SUFFIXES
from pipeline.prepare.formats.parts.files import Tree

#: bytes that are read of a file, and files of a name that are opened
HEAD_BYTES, OPENED = 20_000, 3
#: formats of objects that most tools can write
OBJECTS = "COCO, YOLO or PASCAL VOC"


@dataclass(frozen=True, slots=True)
class Export:
    """What a tool writes, and what to do instead.

    name: pattern of the path of a file · content: pattern of its beginning · alone: only where there is no image.
    """

    tool: str
    remedy: str
    name: str
    content: bytes = b""
    alone: bool = False


EXPORTS = (
    Export(
        "CVAT's export `CVAT for images 1.1` or `for video 1.1`",
        "Export the task again as `COCO 1.0` or `Ultralytics YOLO Detection 1.0`.",
        r".*\.xml",
        rb"<annotations>\s*<(version|meta|image|track)\b",
    ),
    Export(
        "Label Studio's brush masks, one picture per label",
        "Join those of each image into one mask with a value per class, and give it the image's name: "
        "images/1.jpg with masks/1.png.",
        r"(.*/)?task-\d+-annotation-\d+-.*\.(png|npy)",
    ),
    Export(
        "Label Studio's JSON or JSON-MIN",
        "Export boxes and polygons again as `COCO` or `YOLO`, choices as `CSV`.",
        r".*\.json",
        rb'"(rectanglelabels|polygonlabels|keypointlabels|brushlabels|from_name|annotation_id|annotator)"',
    ),
    Export(
        "labelme's json, one per image",
        "Make one COCO json of them: `pip install labelme2coco`, then `labelme2coco FOLDER`.",
        r".*\.json",
        rb'"shapes"\s*:\s*\[',
    ),
    Export(
        "roLabelImg's rotated boxes (<robndbox>)",
        "Rotated boxes are not supported: draw upright ones, as with labelImg.",
        r".*\.xml",
        rb"<robndbox>",
    ),
    Export(
        "MakeSense's CSV of boxes",
        "Export them again as YOLO files or VOC XML.",
        r".*\.csv",
        rb"\A[^,\n]+(,\d+){4},[^,\n]+\.\w+,\d+,\d+\s*?$",
    ),
    Export(
        "VGG Image Annotator's own json or csv",
        "Choose Annotation, Export Annotations (COCO format) there.",
        r".*\.(json|csv)",
        rb'"_via_\w+"|"regions"\s*:.{0,4000}"(shape|region)_attributes"|region_shape_attributes',
    ),
    Export(
        "Supervisely's format",
        "Run its app `Export to COCO` and add what that gives.",
        r"(.*/)?meta\.json",
        rb'"(tags|projectType)"\s*:',
    ),
    Export(
        "Datumaro's own json",
        "Run `datum convert -i FOLDER -if datumaro -f coco`.",
        r".*\.json",
        rb'"dm_format_version"|"categories"\s*:\s*\{\s*"label"',
    ),
    Export(
        "CreateML's json",
        f"Export them again as {OBJECTS}.",
        r".*\.json",
        rb'"coordinates"\s*:\s*\{\s*"(x|y|width|height)"',
    ),
    Export(
        "BDD100K's json",
        "Run its script bdd100k.label.to_coco.",
        r".*\.json",
        rb'"box2d"\s*:',
    ),
    Export("Labelbox's json", f"Convert it to {OBJECTS}.", r".*\.(nd)?json", rb'"data_row"|"Labeled Data"'),
    Export(
        "V7 Darwin's json",
        f"Export them again as {OBJECTS}.",
        r".*\.json",
        rb'"item"\s*:\s*\{.{0,4000}"slots"',
    ),
    Export(
        "Open Images' table of boxes or labels",
        f"Convert it to {OBJECTS}.",
        r".*\.csv",
        rb"\AImageID,Source,LabelName",
    ),
    Export(
        "KITTI's labels",
        f"Convert them to {OBJECTS}.",
        r".*\.txt",
        rb"\A\w+ -?\d\.\d\d -?[0-3] -?\d+\.\d+( -?\d+\.\d+){4}",
    ),
    Export("WIDER FACE's list of boxes", f"Convert it to {OBJECTS}.", r"(.*/)?wider_face_\w+_bbx_gt\.txt"),
    Export(
        "annotations in MATLAB's .mat files, as of PASCAL-Context, SBD and Stanford Cars",
        "Save masks as PNG files with a value per class, or labels as a table image,label.",
        r".*\.mat",
    ),
    Export(
        "CIFAR's pickled batches",
        "Write each image to a file in a folder of its class.",
        r"(.*/)?(data_batch_\d|batches\.meta|cifar-100-python/(train|test|meta))",
        alone=True,
    ),
    Export(
        "images packed into arrays or a database (.npz, .npy, .h5, .tfrecord, .parquet, .arrow, .mdb, .rec, .pkl)",
        "Write each image to a file, in a folder of its class or with annotations that a format reads.",
        r".*\.(npz|npy|h5|hdf5|tfrecords?|tfrecord-.*|parquet|arrow|mdb|rec|pkl|pickle)",
        alone=True,
    ),
    Export(
        "archives",
        "Unpack them, and give the folder with what is in them.",
        r".*\.(zip|tar|tgz|tar\.(gz|bz2|xz|zst)|7z|rar)",
        alone=True,
    ),
)


def explain(tree: Tree) -> str | None:
    """One sentence on the tool that wrote the folder and the way on, or None if no tool is recognised."""
    has_images = any(name.suffix.lower() in SUFFIXES for name in tree.files)
    for export in EXPORTS:
        if not (export.alone and has_images) and (example := _example(tree, export)):
            return f"holds {export.tool}, such as {example}, which no format reads. {export.remedy}"
    return None


def _example(tree: Tree, export: Export) -> str | None:
    """A file of the folder that the tool wrote."""
    named = [name for name in tree.files if re.fullmatch(export.name, str(name), re.IGNORECASE)]
    for name in named[:OPENED]:
        if not export.content:
            return str(name)
        try:
            with (tree.root / name).open("rb") as file:
                head = file.read(HEAD_BYTES)
        except OSError:
            continue
        if re.search(export.content, head, re.DOTALL | re.MULTILINE):
            return str(name)
    return None
