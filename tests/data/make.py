"""Makes the small data sets beside this file from five photographs of scikit-image's wheel; run by hand.

    python -m tests.data.make FOLDER    # the folder skimage/data of an unpacked wheel

README.md names the photographs' sources and licences. All sets show the same pictures, and say the same of them.
"""

import json
import shutil
import sys
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image, ImageDraw

from tests.data.drawn import KEYPOINTS, NAMES, PHOTOGRAPHS, VIEWS, Outline, View, box, flat, label_map, save
from tests.data.odd import write_idx, write_pictures

HERE = Path(__file__).parent


def write_classes(photographs: dict[str, Image.Image], folder: Path) -> None:
    """A folder a split, in it a folder a class: the photograph's name."""
    for view in VIEWS:
        save(view, photographs, folder / view.split / view.photograph)


def write_csv(photographs: dict[str, Image.Image], folder: Path) -> None:
    """A table of images, labels and splits."""
    for view in VIEWS:
        save(view, photographs, folder / "images")
    lines = [f"images/{view.file},{view.photograph},{view.split}" for view in VIEWS]
    (folder / "labels.csv").write_text("\n".join(["image,label,split", *lines, ""]))


def write_coco(photographs: dict[str, Image.Image], folder: Path) -> None:
    """COCO's own layout: a json a split; boxes, masks and keypoints. Spoons are run lengths, all else polygons."""
    (folder / "annotations").mkdir(parents=True)
    categories: list[dict[str, object]] = [{"id": 10 * (place + 1), "name": name} for place, name in enumerate(NAMES)]
    categories[0]["keypoints"] = list(KEYPOINTS)
    for split in ("train", "val", "test"):
        views = [view for view in VIEWS if view.split == split]
        pictures, annotations = [], []
        for number, view in enumerate(views, start=1):
            save(view, photographs, folder / split)
            pictures.append({"id": number, "file_name": view.file, "width": view.size[0], "height": view.size[1]})
            annotations += [annotation(item, view, number, 10 * number + n) for n, item in enumerate(view.objects())]
        content = {"images": pictures, "categories": categories, "annotations": annotations}
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content, indent=1) + "\n")


def annotation(item: Outline, view: View, image: int, number: int) -> dict[str, object]:
    """An object as COCO writes it."""
    x_min, y_min, x_max, y_max = box(item.corners)
    entry = {
        "id": number,
        "image_id": image,
        "category_id": 10 * (NAMES.index(item.name) + 1),
        "bbox": [round(value, 2) for value in (x_min, y_min, x_max - x_min, y_max - y_min)],
        "iscrowd": 0,
        "segmentation": run_lengths(item, view) if item.name == "spoon" else [flat(item.corners)],
    }
    if item.keypoints:
        entry["keypoints"] = [value for x, y in item.keypoints for value in (x, y, 2)]
        entry["num_keypoints"] = len(item.keypoints)
    return entry


def run_lengths(item: Outline, view: View) -> dict[str, object]:
    """COCO's uncompressed run lengths: column after column, beginning with pixels outside."""
    drawn = Image.new("1", view.size)
    ImageDraw.Draw(drawn).polygon(item.corners, 1)
    values = np.asarray(drawn).T.ravel()
    turns = np.flatnonzero(values[1:] != values[:-1]) + 1
    counts = np.diff([0, *turns.tolist(), values.size]).tolist()
    return {"size": [view.size[1], view.size[0]], "counts": [0, *counts] if values[0] else counts}


def write_voc(photographs: dict[str, Image.Image], folder: Path) -> None:
    """PASCAL VOC's layout: an xml an image, whole pixels counted from 1, and lists for the splits."""
    (folder / "Annotations").mkdir(parents=True)
    (folder / "ImageSets/Main").mkdir(parents=True)
    for view in VIEWS:
        save(view, photographs, folder / "JPEGImages")
        lines = ["<annotation>", f"  <filename>{escape(view.file)}</filename>"]
        lines.append(f"  <size><width>{view.size[0]}</width><height>{view.size[1]}</height><depth>3</depth></size>")
        for item in view.objects():
            x_min, y_min, x_max, y_max = (round(value) for value in box(item.corners))
            places = {"xmin": x_min + 1, "ymin": y_min + 1, "xmax": x_max, "ymax": y_max}
            inside = "".join(f"<{key}>{value}</{key}>" for key, value in places.items())
            known = f"<name>{item.name}</name><difficult>{int(item.name == 'spoon')}</difficult>"
            lines.append(f"  <object>{known}<bndbox>{inside}</bndbox></object>")
        (folder / "Annotations" / f"{view.name}.xml").write_text("\n".join([*lines, "</annotation>", ""]))
    for split in ("train", "val", "test"):
        names = [view.name for view in VIEWS if view.split == split]
        (folder / "ImageSets/Main" / f"{split}.txt").write_text("\n".join([*names, ""]))


def write_yolo(photographs: dict[str, Image.Image], folder: Path) -> None:
    """YOLO's layout with outlines as fractions of the image; images without an object have no label file."""
    for view in VIEWS:
        save(view, photographs, folder / "images" / view.split)
        (folder / "labels" / view.split).mkdir(parents=True, exist_ok=True)
        lines = []
        for item in view.objects():
            fractions = [f"{x / view.size[0]:.5f} {y / view.size[1]:.5f}" for x, y in item.corners]
            lines.append(f"{NAMES.index(item.name)} {' '.join(fractions)}\n")
        if lines:
            (folder / "labels" / view.split / f"{view.name}.txt").write_text("".join(lines))
    names = "".join(f"  {place}: {name}\n" for place, name in enumerate(NAMES))
    folders = "".join(f"{split}: images/{split}\n" for split in ("train", "val", "test"))
    (folder / "data.yaml").write_text(f"{folders}names:\n{names}")


def write_masks(photographs: dict[str, Image.Image], folder: Path) -> None:
    """Roboflow's "Semantic Segmentation Masks": each mask beside its image, and a table of the classes."""
    for view in VIEWS:
        save(view, photographs, folder / view.split)
        label_map(view).save(folder / view.split / f"{view.name}_mask.png", optimize=True)
    rows = "".join(f"{place}, {name}\n" for place, name in enumerate(("background", *NAMES)))
    for split in ("train", "val", "test"):
        (folder / split / "_classes.csv").write_text(f"Pixel Value, Class\n{rows}")


def main(source: Path) -> None:
    """Make every data set anew."""
    photographs = {name: Image.open(source / file).convert("RGB") for name, file in PHOTOGRAPHS.items()}
    writers = {
        "classes": write_classes,
        "coco": write_coco,
        "csv": write_csv,
        "idx": write_idx,
        "masks": write_masks,
        "pictures": write_pictures,
        "voc": write_voc,
        "yolo": write_yolo,
    }
    for name, write in writers.items():
        shutil.rmtree(HERE / name, ignore_errors=True)
        write(photographs, HERE / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
