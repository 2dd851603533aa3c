"""Exports of other tools are named with a way on: small ones of each, as the tools write them."""

import json
from pathlib import Path

import pytest

from convline.recognising import recognise
from pipeline.errors import UserError
from pipeline.prepare import exports
from pipeline.prepare.formats.parts.files import scan
from tests.helpers import folders

BOX = {"x": 10, "y": 20, "width": 30, "height": 30}
LABELME = {"version": "5.2.1", "flags": {}, "shapes": [{"label": "bolt", "points": [[5, 6], [20, 18]]}]}
VIA = {"filename": "a.png", "size": 999, "regions": [{"shape_attributes": {"name": "rect"}}]}
KITTI = "Car 0.00 0 -1.58 587.01 173.33 614.12 200.12 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59\n"
#: file → its content, a word of the tool's name, and one of the way on
WRITTEN = {
    "annotations.xml": (
        "<?xml version='1.0' encoding='utf-8'?>\n<annotations>\n  <version>1.1</version><image id='0' name='a.png'/>",
        "CVAT for images 1.1",
        "COCO 1.0",
    ),
    "task-3-annotation-4-by-1-tag-bolt-0.png": ("x", "Label Studio's brush masks", "images/1.jpg"),
    "min.json": (
        json.dumps([{"image": "/data/upload/1/a.jpg", "label": [{**BOX, "rectanglelabels": ["bolt"]}]}]),
        "Label Studio's JSON",
        "COCO",
    ),
    "full.json": (
        json.dumps([{"id": 1, "annotations": [{"result": [{"from_name": "label"}]}]}]),
        "Label Studio's JSON",
        "YOLO",
    ),
    "a.json": (json.dumps({**LABELME, "imagePath": "a.png"}), "labelme", "labelme2coco"),
    "rotated.xml": (
        "<annotation><object><robndbox><cx>1</cx></robndbox></object></annotation>",
        "roLabelImg",
        "upright",
    ),
    "sense.csv": ("nut,5,6,15,12,a.png,48,32\nbolt,1,2,3,4,b.png,48,32\n", "MakeSense", "VOC XML"),
    "via_region_data.json": (json.dumps({"a.png999": VIA}), "VGG Image Annotator", "COCO format"),
    "via_project.json": (json.dumps({"_via_settings": {}}), "VGG Image Annotator", "COCO format"),
    "via.csv": ("filename,file_size,region_count,region_shape_attributes\n", "VGG Image Annotator", "COCO format"),
    "meta.json": (json.dumps({"classes": [{"title": "bolt"}], "tags": []}), "Supervisely", "Export to COCO"),
    "default.json": (json.dumps({"dm_format_version": "1.0", "items": []}), "Datumaro", "datum convert"),
    "createml.json": (
        json.dumps([{"image": "a.png", "annotations": [{"label": "bolt", "coordinates": BOX}]}]),
        "CreateML",
        "COCO",
    ),
    "det_train.json": (json.dumps([{"name": "a.png", "labels": [{"box2d": {"x1": 1}}]}]), "BDD100K", "to_coco"),
    "export.ndjson": (json.dumps({"data_row": {"id": "1"}}), "Labelbox", "COCO"),
    "darwin.json": (json.dumps({"item": {"name": "a", "slots": []}}), "Darwin", "COCO"),
    "train-annotations-bbox.csv": ("ImageID,Source,LabelName,Confidence,XMin\n", "Open Images", "COCO"),
    "000001.txt": (KITTI, "KITTI", "COCO"),
    "wider_face_train_bbx_gt.txt": ("0--Parade/a.jpg\n1\n", "WIDER FACE", "COCO"),
    "2008_000002.mat": ("MATLAB 5.0 MAT-file", ".mat", "PNG"),
}


@pytest.mark.parametrize("file", WRITTEN)
def test_a_tool_is_named_with_what_to_export_instead(file: str, tmp_path: Path) -> None:
    text, tool, remedy = WRITTEN[file]
    for number in range(3):
        folders.picture(tmp_path / f"images/{number}.png", number)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / file).write_text(text)
    sentence = exports.explain(scan(tmp_path))
    assert sentence is not None
    assert tool in sentence
    assert remedy in sentence.partition(". ")[2]
    assert f"data/{file}" in sentence


@pytest.mark.parametrize(
    "file", ["cifar-10-batches-py/data_batch_1", "train.npz", "data.tar.gz", "x-00000-of-1.parquet"]
)
def test_images_that_are_packed_are_named_where_no_other_are(file: str, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(b"\x80\x04")
    assert file in str(exports.explain(scan(tmp_path)))
    folders.picture(tmp_path / "cat/1.png", 1)
    assert exports.explain(scan(tmp_path)) is None


@pytest.mark.parametrize("name", folders.FOLDERS)
def test_what_a_format_reads_is_no_other_tools(name: str, tmp_path: Path) -> None:
    folders.FOLDERS[name](tmp_path)
    assert exports.explain(scan(tmp_path)) is None


def test_the_tool_is_named_in_place_of_what_each_format_reads(tmp_path: Path) -> None:
    for number in range(3):
        folders.picture(tmp_path / f"{number}.png", number)
        (tmp_path / f"{number}.json").write_text(json.dumps({**LABELME, "imagePath": f"{number}.png"}))
    with pytest.raises(UserError) as refused:
        recognise(tmp_path, scan(tmp_path), None)
    assert "labelme" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
