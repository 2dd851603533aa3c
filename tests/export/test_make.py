"""An exported file answers as the model does, without torch; what can't be exported or answers otherwise is refused."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from pipeline import checkpoint, params, shards, store
from pipeline.errors import UserError
from pipeline.evaluate import predict
from pipeline.export import comparison, make
from pipeline.export.formats import onnx
from pipeline.geometry import rle
from pipeline.sample import Facts, Sample
from tests.helpers import own_plugins, support

IMAGES = 9  # no multiple of a batch
FACTS = Facts(
    "x",
    ("cat", "dog"),
    ("background", "cat"),
    {"train": 2, "val": 1, "test": IMAGES},
    (1, 1),
    (),
    {"1": [0.4], "3": [0.4, 0.5, 0.6]},
    {"1": [0.25], "3": [0.2, 0.25, 0.3]},
    keypoints=("nose", "tail"),
)
SMALL = {"backbone": "resnet", "backbone_options": {"depth": 20, "width": 4}}
RCNN = {**SMALL, "levels": ["layer2", "layer3"], "width": 8, "head_width": 8, "proposals": 8, "samples": 8}
LINEAR = {"task": "classification", "architecture": "linear", "size": 8, "channels": 3}
JOBS: dict[str, dict[str, Any]] = {
    "stretch": LINEAR | {"channels": 1},
    "crop": LINEAR | {"fit": "crop"},
    "letterbox": LINEAR | {"fit": "letterbox", "pretrained": {"weights": "ResNet18_Weights.IMAGENET1K_V1"}},
    "child": LINEAR | {"pretrained": {"job": "letterbox"}},
    "localization": {
        "task": "localization",
        "architecture": "cam",
        "size": 32,
        "channels": 3,
        "options": {**SMALL, "level": "layer2", "width": 8},
    },
    "segmentation": {
        "task": "segmentation",
        "architecture": "unet",
        "size": 16,
        "channels": 3,
        "options": {"width": 4, "depth": 1},
    },
    "generation": {
        "task": "generation",
        "architecture": "dcgan",
        "size": 16,
        "channels": 1,
        "options": {"width": 4, "latent": 8},
    },
    "yolo": {
        "task": "detection",
        "architecture": "yolo",
        "size": 64,
        "channels": 3,
        "options": {**SMALL, "width": 8, "head_width": 16},
    },
    "rcnn": {"task": "detection", "architecture": "faster_rcnn", "size": 64, "channels": 3, "options": RCNN},
    "masks": {
        "task": "instance_segmentation",
        "architecture": "mask_rcnn",
        "size": 64,
        "channels": 3,
        "options": {**RCNN, "mask_width": 8, "mask_layers": 1},
    },
    "keypoints": {
        "task": "keypoint_detection",
        "architecture": "mask_rcnn",
        "size": 64,
        "channels": 3,
        "options": {**RCNN, "keypoint_width": 8, "keypoint_layers": 1},
    },
    "proposals": {
        "task": "detection",
        "architecture": "fast_rcnn",
        "size": 64,
        "channels": 3,
        "options": {**SMALL, "head_width": 8},
    },
}


def store_model(root: Path, name: str, job: dict[str, Any]) -> None:
    """Put an untrained model where a trained one would be."""
    torch.manual_seed(0)
    settings = params.Job.model_validate({"dataset": "digits", **job})
    derived: dict[str, Any] = {"proposals": {}} if job["architecture"] == "fast_rcnn" else {}
    description = checkpoint.describe(settings, FACTS, derived)
    with store.folder(root / "models" / name, f"mark-{name}") as path:
        made = checkpoint.build(description)
        checkpoint.save(path, made, description | {"fingerprint": f"mark-{name}", "best_epoch": 3})


def samples() -> list[Sample]:
    generator = np.random.default_rng(0)
    sizes = [(40, 70), (70, 40), (64, 64)] * 3
    pictures = [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    boxes = np.array([[4, 4, 30, 30]], np.float32)
    return [
        Sample(
            str(index),
            picture,
            label=index % 2,
            semantic=(picture[..., 0] > 128).astype(np.uint8),
            boxes=boxes,
            masks=[rle.encode(np.pad(np.ones((26, 26), np.bool_), ((4, size[0] - 30), (4, size[1] - 30))))],
            keypoints=np.array([[[9, 9, 2], [20, 20, 2]]], np.float32),
            labels=np.array([index % 2]),
        )
        for index, (size, picture) in enumerate(zip(sizes, pictures, strict=True))
    ]


def write_params(folder: Path, jobs: dict[str, dict[str, Any]]) -> None:
    named = {name: {"dataset": "digits", **job} for name, job in jobs.items()}
    support.write_params(folder, named, datasets={"digits": {"format": "scenes", "derived": {"proposals": {}}}})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    write_params(folder, JOBS)
    for name, job in JOBS.items():
        store_model(folder, name, job)
    with store.folder(folder / "data/prepared/digits", "data") as prepared:
        shards.write_shard(prepared / "test-00000.arrow", samples())
    return folder


def evaluated(root: Path, name: str) -> Path:
    """Store evaluate's rows of a model; returns their file."""
    learner, description = checkpoint.load(root / "models" / name)
    stored = shards.split(root / "data/prepared/digits", "test")
    table, _ = predict.rows(predict.predictor(learner, description["task"]), stored, description["task"])
    folder = root / "evaluations" / name
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / "test.parquet")
    store.write_json(folder / "protocol.json", {"model": store.content_digest(root / "models" / name)})
    return folder / "test.parquet"


def session(out: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(out / "model.onnx")


def run_script(out: Path, *arguments: str) -> list[str]:
    """The lines that run.py prints where neither torch nor convline can be imported."""
    blocked = ("torch", "torchvision", "pipeline", "convline", "cv2", "onnx")
    code = (
        f"import runpy, sys; sys.modules.update(dict.fromkeys({blocked!r})); "
        f"sys.argv = {['run.py', *arguments]!r}; runpy.run_path({str(out / 'run.py')!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=out, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("fit", ["stretch", "crop", "letterbox"])
def test_a_classifier_answers_without_torch_as_it_does_here(fit: str, root: Path, tmp_path: Path) -> None:
    evaluated(root, fit)
    made = make.export(root, fit, tmp_path / "out", "convline 1")
    assert made.images == IMAGES
    assert made.rows == (IMAGES, IMAGES)
    assert made.difference < 1e-5
    assert min(made.latency_ms, made.torch_latency_ms) > 0
    assert sorted(path.name for path in made.out.iterdir()) == ["model.json", "model.onnx", "run.py"]
    learner, description = checkpoint.load(root / "models" / fit)
    ask = predict.predictor(learner, description["task"])
    for item in samples()[:3]:
        Image.fromarray(item.pixels).save(tmp_path / f"{item.id}.png")
        (line,) = run_script(made.out, str(tmp_path / f"{item.id}.png"))
        answer = json.loads(line)["answer"]
        (expected,) = ask([item])
        np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)
        assert answer["label"] == FACTS.classes[int(expected.argmax())]


@pytest.mark.parametrize("name", ["localization", "segmentation", "generation"])
def test_other_tasks_answer_as_they_do_here_in_batches_of_any_size(name: str, root: Path, tmp_path: Path) -> None:
    if name != "generation":
        evaluated(root, name)
    made = make.export(root, name, tmp_path / "out", "convline 1")
    assert made.rows == (None if name == "generation" else (IMAGES, IMAGES))
    size = JOBS[name]["size"]
    if name == "generation":
        given = {"noise": np.zeros((5, 8, 1, 1), np.float32)}
    else:
        given = {"images": np.zeros((5, 3, size, size), np.uint8)}
    first, *_ = session(made.out).run(None, given)
    assert len(first) == 5
    if name == "generation":
        (line,) = run_script(made.out, "7")
        assert Image.open(made.out / line).size == (size, size)
    if name == "segmentation":
        Image.fromarray(samples()[0].pixels).save(tmp_path / "one.png")
        (line,) = run_script(made.out, str(tmp_path / "one.png"))
        assert sum(json.loads(line)["answer"].values()) == pytest.approx(1)


@pytest.mark.parametrize(
    "name",
    [
        "yolo",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("rcnn", "masks", "keypoints")),
    ],
)
def test_a_detector_s_file_has_its_post_processing(name: str, root: Path, tmp_path: Path) -> None:
    made = make.export(root, name, tmp_path / "out", "convline 1")
    about = store.read_json(made.out / "model.json")
    assert about["batch"] == 1
    names = [output.name for output in session(made.out).get_outputs()]
    assert names[:3] == ["boxes", "labels", "scores"]
    assert sorted(names) == sorted(about["outputs"])
    assert made.difference < comparison.TOLERANCE
    Image.fromarray(samples()[0].pixels).save(tmp_path / "one.png")
    (line,) = run_script(made.out, str(tmp_path / "one.png"))
    (expected,) = predict.predictor(checkpoint.load(root / "models" / name)[0], JOBS[name]["task"])(samples()[:1])
    answers = json.loads(line)["answer"]
    scores = sorted((item["score"] for item in answers), reverse=True)
    np.testing.assert_allclose(scores, np.sort(expected.scores)[::-1], atol=1e-3)


def test_the_file_says_what_it_is_of(root: Path, tmp_path: Path) -> None:
    made = make.export(root, "child", tmp_path / "out", "convline 1")
    inside = session(made.out).get_modelmeta().custom_metadata_map
    beside = store.read_json(made.out / "model.json")
    assert inside.keys() == beside.keys()
    assert json.loads(inside["classes"]) == beside["classes"] == list(FACTS.classes)
    assert json.loads(inside["mean"]) == FACTS.mean["3"]
    assert beside["fingerprint"] == inside["fingerprint"] == "mark-child"
    assert (beside["best_epoch"], beside["size"], beside["fit"], beside["job"]) == (3, 8, "stretch", "child")
    assert inside["convline"] == "convline 1"
    assert "ResNet18_Weights.IMAGENET1K_V1" in inside["licence"]  # by way of the job that it starts from


def test_a_model_with_an_operation_that_no_exporter_has_is_refused_by_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = own_plugins.use(tmp_path, monkeypatch)
    text = """
import torch
from torch import nn

TASKS = ("classification",)


class Bessel(nn.Linear):
    def forward(self, images):
        return torch.special.bessel_j0(super().forward(images.flatten(1)))


def build(spec):
    return Bessel(spec.channels * spec.size**2, spec.classes)
"""
    own_plugins.write(own, "models", "bessel", text)
    job = LINEAR | {"architecture": "bessel"}
    project = tmp_path / "project"
    project.mkdir()
    (project / "data").symlink_to(root / "data")
    write_params(project, {"odd": job})
    store_model(project, "odd", job)
    with pytest.raises(UserError, match="bessel_j0") as raised:
        make.export(project, "odd", tmp_path / "exports" / "out", "convline 1")
    assert str(raised.value).startswith("odd: ")
    assert len(str(raised.value)) < 200
    assert list((tmp_path / "exports").iterdir()) == []


def test_a_network_that_reads_more_than_the_image_is_refused_before_anything_is_written(
    root: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="proposals"):
        make.export(root, "proposals", tmp_path / "exports" / "out", "convline 1")
    assert not (tmp_path / "exports").exists()


def test_a_file_that_answers_otherwise_is_not_kept(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = onnx.load

    def load_wrong(path: Path, threads: int) -> Any:
        run = load(path, threads)
        return lambda inputs: {name: values + np.float32(0.25) for name, values in run(inputs).items()}

    monkeypatch.setattr(onnx, "load", load_wrong)
    with pytest.raises(UserError, match=r"0\.25"):
        make.export(root, "stretch", tmp_path / "exports" / "out", "convline 1")
    assert list((tmp_path / "exports").iterdir()) == []


def test_a_file_that_differs_from_evaluate_s_rows_is_not_kept(root: Path, tmp_path: Path) -> None:
    file = evaluated(root, "child")
    table = pq.read_table(file).to_pydict()
    pq.write_table(pa.table(table | {"confidence": [value - 0.4 for value in table["confidence"]]}), file)
    try:
        with pytest.raises(UserError, match=rf"0 of {IMAGES} .*0\.4"):
            make.export(root, "child", tmp_path / "exports" / "out", "convline 1")
    finally:
        file.with_name("protocol.json").unlink()
    assert list((tmp_path / "exports").iterdir()) == []


def test_rows_of_another_training_are_not_compared(root: Path, tmp_path: Path) -> None:
    file = evaluated(root, "child")
    store.write_json(file.with_name("protocol.json"), {"model": "another"})
    assert make.export(root, "child", tmp_path / "out", "convline 1").rows is None


@pytest.mark.parametrize(
    ("job", "format_name", "facts"),
    [("strech", "onnx", ["strech", "'stretch'"]), ("stretch", "onxx", ["--format", "'onxx'", "onnx"])],
)
def test_a_wrong_name_is_told_with_the_right_ones(
    job: str, format_name: str, facts: list[str], root: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as raised:
        make.export(root, job, tmp_path / "out", "convline 1", format_name)
    assert all(fact in str(raised.value) for fact in facts)


def test_without_the_extra_the_remedy_is_told(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    with pytest.raises(UserError, match=r"onnxruntime .*convline\[export\]"):
        make.export(root, "stretch", tmp_path / "out", "convline 1")


def test_a_folder_with_files_is_not_overwritten(root: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UserError, match=r"--out"):
        make.export(root, "stretch", tmp_path, "convline 1")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
