"""Writes samples as data sets of each format, so that what is read back can be compared with what was written.

All writers take the folder, the samples and the names of their classes; images are made of each sample's pixels.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from PIL import Image
from ruamel.yaml import YAML

from pipeline.sample import Sample

Writer = Callable[[Path, Sequence[Sample], Sequence[str]], None]


def sides(sample: Sample) -> tuple[int, int]:
    """Width and height."""
    height, width = sample.pixels.shape[:2]
    return width, height


def save_image(path: Path, sample: Sample) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sample.pixels).save(path)


def boxes_of(sample: Sample) -> list[list[float]]:
    assert sample.boxes is not None
    return list(sample.boxes.tolist())


def names_of(sample: Sample, classes: Sequence[str]) -> list[str]:
    assert sample.labels is not None
    return [classes[label] for label in sample.labels.tolist()]


def coco(root: Path, samples: Sequence[Sample], classes: Sequence[str], keypoints: Sequence[str] = ()) -> None:
    """Boxes, masks as compressed run lengths, crowds and keypoints; a json a split."""
    (root / "annotations").mkdir(parents=True)
    for split in {sample.split for sample in samples}:
        pictures, annotations = list[Any](), list[Any]()
        for number, sample in enumerate(sample for sample in samples if sample.split == split):
            width, height = sides(sample)
            save_image(root / f"{split}/{sample.id}.png", sample)
            pictures.append({"id": number, "file_name": f"{sample.id}.png", "width": width, "height": height})
            for place, (left, top, right, bottom) in enumerate(boxes_of(sample)):
                assert sample.labels is not None
                entry: dict[str, Any] = {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": int(sample.labels[place]) + 1,
                    "bbox": [left, top, right - left, bottom - top],
                }
                if sample.crowd is not None:
                    entry["iscrowd"] = int(sample.crowd[place])
                if sample.masks is not None:
                    entry["segmentation"] = {"size": [height, width], "counts": sample.masks[place].decode()}
                if sample.keypoints is not None:
                    entry["keypoints"] = sample.keypoints[place].ravel().tolist()
                annotations.append(entry)
        categories: list[dict[str, Any]] = [{"id": id, "name": name} for id, name in enumerate(classes, start=1)]
        content = {"images": pictures, "annotations": annotations, "categories": categories}
        if keypoints:
            categories[0]["keypoints"] = list(keypoints)
        (root / f"annotations/instances_{split}.json").write_text(json.dumps(content))


def voc(root: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Boxes, and which are difficult; numbers as they are, so VOC's own whole pixels where the boxes have those."""
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for sample in samples:
        width, height = sides(sample)
        save_image(root / f"JPEGImages/{sample.id}.png", sample)
        objects = []
        for place, (name, box) in enumerate(zip(names_of(sample, classes), boxes_of(sample), strict=True)):
            corners = dict(zip(("xmin", "ymin", "xmax", "ymax"), (box[0] + 1, box[1] + 1, *box[2:]), strict=True))
            inside = "".join(f"<{key}>{value:g}</{key}>" for key, value in corners.items())
            difficult = 0 if sample.difficult is None else int(sample.difficult[place])
            text = f"<name>{escape(name)}</name><difficult>{difficult}</difficult><bndbox>{inside}</bndbox>"
            objects.append(f"<object>{text}</object>")
        size = f"<size><width>{width}</width><height>{height}</height></size>"
        text = f"<annotation>{size}{''.join(objects)}</annotation>"
        (root / f"Annotations/{sample.id}.xml").write_text(text, encoding="utf-8")
    for split in {sample.split for sample in samples}:
        names = [sample.id for sample in samples if sample.split == split]
        (root / f"ImageSets/Main/{split}.txt").write_text("\n".join(names))


def yolo(root: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Boxes as fractions of the image."""

    def line(box: list[float], label: int, width: int, height: int) -> str:
        left, top, right, bottom = box[0] / width, box[1] / height, box[2] / width, box[3] / height
        return " ".join(map(str, (label, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top)))

    _yolo(root, samples, classes, line)


def yolo_outlines(root: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """The four corners of each box as an outline."""

    def line(box: list[float], label: int, width: int, height: int) -> str:
        left, top, right, bottom = box[0] / width, box[1] / height, box[2] / width, box[3] / height
        return " ".join(map(str, (label, left, top, right, top, right, bottom, left, bottom)))

    _yolo(root, samples, classes, line)


def _yolo(root: Path, samples: Sequence[Sample], classes: Sequence[str], line: Callable[..., str]) -> None:
    for sample in samples:
        save_image(root / f"images/{sample.split}/{sample.id}.png", sample)
        (root / f"labels/{sample.split}").mkdir(parents=True, exist_ok=True)
        assert sample.labels is not None
        labelled = zip(boxes_of(sample), sample.labels.tolist(), strict=True)
        text = "\n".join(line(box, label, *sides(sample)) for box, label in labelled)
        (root / f"labels/{sample.split}/{sample.id}.txt").write_text(text)
    folders = {str(sample.split): f"images/{sample.split}" for sample in samples}
    with (root / "data.yaml").open("w", encoding="utf-8") as file:
        YAML().dump({**folders, "names": list(classes)}, file)


def csv(root: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Labels, splits and groups."""
    lines = ["image,label,split,group"]
    for sample in samples:
        save_image(root / f"{sample.id}.png", sample)
        assert isinstance(sample.label, int)
        label = classes[sample.label].replace('"', '""')
        lines.append(f'{sample.id}.png,"{label}",{sample.split},{sample.group}')
    (root / "labels.csv").write_text("\n".join(lines), encoding="utf-8")


def mask_png(root: Path, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Label maps; their names are an option of the format."""
    for sample in samples:
        save_image(root / f"{sample.split}/images/{sample.id}.png", sample)
        (root / f"{sample.split}/masks").mkdir(parents=True, exist_ok=True)
        assert sample.semantic is not None
        Image.fromarray(sample.semantic).save(root / f"{sample.split}/masks/{sample.id}.png")
