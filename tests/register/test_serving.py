"""A champion answers over HTTP and from the command line, whatever its task, as evaluate measured it.

It is served from an empty folder where `pipeline` can't be imported, so its own copy of the code answers. The jobs
are the first core job of each task in params.yaml, on few images and for few epochs.
"""

import base64
import contextlib
import io
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from pipeline import checkpoint, definitions, fingerprint, images, params, plugins, shards, store, tracking
from pipeline.evaluate import predict
from pipeline.evaluate import stage as evaluate_stage
from pipeline.params import Job, Params
from pipeline.register import stage as register_stage
from pipeline.register import versions
from pipeline.sample import Facts, Sample
from pipeline.train import stage as train_stage
from tests.helpers import own_plugins, support

REPO = Path(__file__).parents[2]
TASKS = own_plugins.shipped("tasks")
DATASETS = {
    "digits": {"format": "digits"},
    "single": {"format": "single", "options": {"train": 64, "val": 8, "test": 8}},
    "scenes": {"format": "scenes", "options": {"train": 48, "val": 4, "test": 6}},
}
EPOCHS, ASKED = 3, 6
START_S = 240
Post = Callable[[Any], tuple[int, Any]]
#: a project's root, and by task the registered model and its champion's job
Every = tuple[Path, dict[str, tuple[str, str]]]


def registered(root: Path, known: Params) -> None:
    """Train, measure and register a prepared project's jobs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.train.ray_train.run", support.train_here)
        patch.setattr("pipeline.evaluate.speed.REPEATS", 1)
        patch.setattr("pipeline.evaluate.speed.BATCH", 1)
        train_stage.run(known, root)
        evaluate_stage.run(known, root)
    register_stage.run(known, root)


@pytest.fixture(scope="module")
def linear(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registered linear classifier of digits."""
    root = tmp_path_factory.mktemp("linear")
    (root / "data").symlink_to(digits / "data")
    registered(root, support.write_params(root, {"linear": {}}))
    return root


@pytest.fixture(scope="module")
def every_task(tmp_path_factory: pytest.TempPathFactory) -> Every:
    """A project with a champion of every task."""
    settings_of_repo = params.read(REPO / "params.yaml")
    known = settings_of_repo.jobs
    jobs: dict[str, dict[str, Any]] = {}

    def need(name: str) -> None:
        jobs[name] = known[name].model_dump(exclude={"augmentation"}, exclude_none=True) | {"epochs": EPOCHS}
        if known[name].dataset == "scenes":
            jobs[name]["batch"] = 2  # few scenes: more steps, so that detectors find something
        for source in known[name].sources.values():
            need(source)

    core = settings_of_repo.choose(["core"]).selected()
    order = sorted(known, key=lambda name: name not in core)
    first = {task: next(name for name in order if known[name].task == task) for task in TASKS}
    for name in first.values():
        need(name)
    root = tmp_path_factory.mktemp("every_task")
    settings = support.write_params(root, jobs, datasets=DATASETS, augmentation={})
    support.prepared(root, settings)
    registered(root, settings)
    models = store.read_json(root / "reports/registered.json")
    names = {task: f"{known[name].dataset}-{task}" for task, name in first.items()}
    return root, {task: (model, models[model]["champion"]["job"]) for task, model in names.items()}


def row_of(pictures: list[bytes]) -> dict[str, Any]:
    """A request's body."""
    data = [[base64.b64encode(picture).decode()] for picture in pictures]
    return {"dataframe_split": {"columns": ["image"], "data": data}}


def encoded(pixels: NDArray[np.uint8], kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def bomb() -> bytes:
    """A small file of 56 million pixels."""
    buffer = io.BytesIO()
    Image.new("1", (8000, 7000)).save(buffer, "PNG")
    return buffer.getvalue()


PIXELS = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
#: what is asked → words of the one message
BAD: dict[str, tuple[Any, str]] = {
    "no image": (row_of([b"hello"]), "image: row 0: not an image that can be read."),
    "a web page": (row_of([b"<html></html>"]), "image: row 0: this looks like HTML or XML"),
    "truncated": (row_of([encoded(PIXELS), encoded(PIXELS)[:900]]), "image: row 1: damaged image"),
    "bomb": (row_of([bomb()]), "image: row 0: 8000×7000 is more than 50000000 pixels."),
    "empty image": (row_of([b""]), "image: row 0: the file is empty."),
    "no rows": (row_of([]), "image: the request is empty."),
    "null": ({"dataframe_split": {"columns": ["image"], "data": [[None]]}}, "image"),
    "number": ({"dataframe_split": {"columns": ["image"], "data": [[3]]}}, "image"),
    "wrong column": ({"dataframe_split": {"columns": ["picture"], "data": [["aGk="]]}}, "missing inputs ['image']"),
    "wrong format": ({"pictures": []}, "dataframe_split"),
    "no JSON": ("{", "JSON"),
}


def refused(post: Post, name: str) -> None:
    asked, words = BAD[name]
    status, answered = post(asked)
    assert 400 <= status < 500
    assert words in answered["message"]
    assert "stack_trace" not in answered


@pytest.fixture(scope="module")
def asked_here(linear: Path) -> Iterator[Post]:
    """Posts to MLflow's scoring server in this process, around the model as MLflow loads it."""
    import mlflow
    from fastapi.testclient import TestClient
    from mlflow.pyfunc import scoring_server

    tracking.client(linear)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path])
        with TestClient(
            scoring_server.init(mlflow.pyfunc.load_model("models:/digits-classification@champion"))
        ) as http:

            def post(body: Any) -> tuple[int, Any]:
                content = body if isinstance(body, str) else json.dumps(body)
                found = http.post("/invocations", content=content, headers={"Content-Type": "application/json"})
                return found.status_code, found.json()

            yield post


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_refused_in_one_message(asked_here: Post, name: str) -> None:
    refused(asked_here, name)
    assert asked_here(row_of([encoded(PIXELS)]))[0] == 200


def test_the_answer_is_what_evaluate_measured(linear: Path, asked_here: Post) -> None:
    as_measured(linear, "linear", asked_here)


def test_any_image_file_is_read_upright_and_as_rgb(linear: Path, asked_here: Post) -> None:
    any_image(linear, "linear", asked_here)


def test_what_the_served_code_imports_is_required() -> None:
    """Every package that its modules import, of all tasks and architectures, is in the model's requirements."""
    from importlib.metadata import packages_distributions

    waiting = ["pipeline.register.predictor", "pipeline.params", *(f"pipeline.tasks.{task}" for task in TASKS)]
    waiting += [f"pipeline.models.{name}" for name in own_plugins.shipped("models")]
    imported, read_modules = set[str](), set[str]()
    while waiting:
        name = waiting.pop()
        module = definitions.read(fingerprint.folders(), name)
        if module is None and "." in name:
            waiting.append(name.rpartition(".")[0])  # a member of a module
        if module is None or name in read_modules:
            continue
        read_modules.add(name)
        imported |= {target.split(".")[0] for target in module.imports.values()}
        inner = (item.imports for item in module.definitions.values())
        waiting += [target for imports in (module.imports, *inner) for target in imports.values()]
    packages = packages_distributions()
    known = {"ruamel": {"ruamel.yaml"}} | {name: set(found) for name, found in packages.items() if name != "ruamel"}
    third = imported - set(sys.stdlib_module_names) - {"pipeline"}
    assert {"torch", "torchvision", "cv2", "PIL"} <= third
    assert not [name for name in sorted(third) if not known[name] & set(versions.REQUIREMENTS)]


def test_requests_in_threads_do_not_see_each_other(tmp_path: Path) -> None:
    """A CAM's stages are read by hooks: without the lock, threads get each other's maps, or none."""
    from pipeline.register.predictor import Predictor

    options: dict[str, Any] = {"backbone": "resnet", "backbone_options": {"depth": 20, "width": 8}, "width": 16}
    job = Job(task="localization", architecture="cam", dataset="x", size=32, epochs=0, options=options)
    level = {"1": [0.5], "3": [0.5] * 3}
    known = Facts("x", ("a", "b"), (), {}, (1, 1), (), level, level)
    description = checkpoint.describe(job, known)
    checkpoint.save(tmp_path, checkpoint.build(description), description)
    predictor = Predictor()
    predictor.load_context(SimpleNamespace(artifacts={"model": str(tmp_path)}))
    generator = np.random.default_rng(0)
    asked = [encoded(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(100)]

    def answer(data: bytes) -> Any:
        return predictor.predict(None, pd.DataFrame({"image": [data]})).to_dict("records")

    alone = [answer(data) for data in asked]
    with ThreadPoolExecutor(8) as pool:
        for found, expected in zip(pool.map(answer, asked), alone, strict=True):
            assert close(found, expected)


@contextlib.contextmanager
def server(root: Path, model: str, folder: Path) -> Iterator[Post]:
    """`mlflow models serve` of a champion; gives a function that posts to it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*MLFLOW, "serve", "-m", f"models:/{model}@champion", "--env-manager", "local", "-p", str(port)]
    with (folder.parent / f"{folder.name}.log").open("w+") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(root), stdout=log, stderr=log, start_new_session=True
        )

        def post(body: Any) -> tuple[int, Any]:
            content = (body if isinstance(body, str) else json.dumps(body)).encode()
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", content, headers)
            try:
                with urllib.request.urlopen(request, timeout=60) as found:
                    return found.status, json.load(found)
            except urllib.error.HTTPError as error:
                return error.code, json.load(error)

        try:
            ends = time.monotonic() + START_S
            while not _alive(port):
                log.seek(0)
                assert process.poll() is None, log.read()
                assert time.monotonic() < ends, "the server did not start"
                time.sleep(0.5)
            yield post
            assert process.poll() is None, "the server died"
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def _alive(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5) as found:
            return bool(found.status == 200)
    except OSError:
        return False


MLFLOW = [sys.executable, "-P", "-m", "mlflow", "models"]


def environment(root: Path) -> dict[str, str]:
    """Of a user who serves from elsewhere: where convline is installed, its `pipeline` is barred; and no pickle."""
    barred = root / "barred"
    barred.mkdir(exist_ok=True)
    (barred / "pipeline.py").write_text("raise ImportError('barred')\n")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"PATH": path, "PYTHONPATH": str(barred), "MLFLOW_TRACKING_URI": tracking.uri(root)}
    return {**os.environ, **tracking.ENVIRONMENT, **own}


def as_array(maps: str) -> NDArray[np.float32]:
    """The class maps of an answer."""
    return np.asarray(np.load(io.BytesIO(base64.b64decode(maps))), np.float32)


def close(found: Any, expected: Any) -> bool:
    """Equal, or for floats within 1e-4: an image alone goes through other kernels than one of a batch of 64."""
    if isinstance(expected, float):
        return bool(found == pytest.approx(expected, abs=1e-4, rel=1e-4, nan_ok=True))
    if isinstance(expected, dict):
        decoded = [
            {**answer, "maps": as_array(answer["maps"])} if "maps" in answer else answer for answer in (found, expected)
        ]
        return found.keys() == expected.keys() and all(
            close(decoded[0][key], value) for key, value in decoded[1].items()
        )
    if isinstance(expected, np.ndarray):
        return found.shape == expected.shape and bool(np.allclose(found, expected, atol=1e-4))
    if isinstance(expected, list):
        return len(found) == len(expected) and all(close(*pair) for pair in zip(found, expected, strict=True))
    return bool(found == expected)


def as_measured(root: Path, job: str, post: Post) -> None:
    """The first test images as PNG, asked about together, give the rows of evaluations/<job>/test.parquet."""
    settings = params.read(root / "params.yaml").jobs[job]
    task = plugins.load("tasks", settings.task)
    learner, _ = checkpoint.load(root / "models" / job)
    stored = list(shards.split(root / "data/prepared" / settings.dataset, "test"))[:ASKED]
    status, answered = post(row_of([encoded(item.pixels) for item in stored]))
    assert status == 200
    found = [task.prediction(*pair, learner.settings) for pair in zip(stored, answered["predictions"], strict=True)]
    if settings.extractor is not None:
        judge, _ = checkpoint.load(root / "models" / settings.extractor)
        found = task.measured(found, stored, judge, learner.settings)
    rows = pq.read_table(root / "evaluations" / job / "test.parquet").to_pylist()[:ASKED]
    for item, prediction, expected in zip(stored, found, rows, strict=True):
        given = {"id": item.id, "group": item.group, **task.rows(item, prediction)}
        if settings.task == "generation":  # the model's own doubt about its picture is not served
            del given["severity"], expected["severity"]
        assert close(given, expected), (given, expected)
    others = [task.rows(stored[0], prediction) for prediction in found[1:]]
    assert not all(close(other, task.rows(stored[0], found[0])) for other in others), "all images have one answer"


def any_image(root: Path, job: str, post: Post) -> None:
    """Of another size, grey, turned by EXIF: answered as the learner itself answers the same upright RGB pixels."""
    settings = params.read(root / "params.yaml").jobs[job]
    task = plugins.load("tasks", settings.task)
    learner, _ = checkpoint.load(root / "models" / job)
    ask = predict.predictor(learner, settings.task)
    stored = shards.split(root / "data/prepared" / settings.dataset, "test")[0]
    wide = images.resize(stored.pixels, 150, 210)
    gray = images.luminance(wide)
    jpeg = encoded(wide, "JPEG", quality=90)
    lying = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))
    turned = Image.Exif()
    turned[0x0112] = 6  # shown, a quarter turn clockwise
    exif = encoded(wide, "JPEG", quality=90, exif=turned)
    upright = np.ascontiguousarray(np.rot90(lying, -1))
    asked = {"another size": (encoded(wide), wide), "exif": (exif, upright), "jpeg": (jpeg, lying)}
    asked["grey"] = encoded(gray), np.repeat(gray[..., None], 3, axis=2)
    status, answered = post(row_of([data for data, _ in asked.values()]))
    assert status == 200
    for (name, (_, pixels)), given in zip(asked.items(), answered["predictions"], strict=True):
        item = Sample("0", pixels, label=0)
        (prediction,) = ask([item])
        assert close(given, task.answer(item, prediction, learner.settings)), name
    if settings.task != "generation":  # there, any other image is other noise
        assert not close(answered["predictions"][1], answered["predictions"][2]), "turning it changes nothing"


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_served(every_task: Every, tmp_path: Path, task: str) -> None:
    root, champions = every_task
    model, job = champions[task]
    empty = tmp_path / "empty"
    empty.mkdir()
    command, quiet = [sys.executable, "-c", "import pipeline"], subprocess.DEVNULL
    alone = subprocess.run(command, cwd=empty, env=environment(root), stderr=quiet, check=False)
    assert alone.returncode == 1, "the repository's pipeline can be imported from here"
    with server(root, model, empty) as post:
        as_measured(root, job, post)
        any_image(root, job, post)
        for name in BAD:
            refused(post, name)
        together(root, job, post)
    assert not list(empty.iterdir()), "serving left files behind"


def together(root: Path, job: str, post: Post) -> None:
    """Requests at the same time are answered as one after the other."""
    dataset = params.read(root / "params.yaml").jobs[job].dataset
    stored = list(shards.split(root / "data/prepared" / dataset, "test"))[:ASKED]
    requests = [row_of([encoded(item.pixels)]) for item in stored] * 3
    with ThreadPoolExecutor(ASKED) as pool:
        for found, request in zip(pool.map(post, requests), requests, strict=True):
            assert close(list(found), list(post(request)))


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_every_task_answers_the_command_line(every_task: Every, tmp_path: Path, task: str) -> None:
    root, champions = every_task
    model, job = champions[task]
    given, answers, empty = tmp_path / "asked.json", tmp_path / "answers.json", tmp_path / "empty"
    empty.mkdir()

    def post(body: Any) -> tuple[int, Any]:
        given.write_text(json.dumps(body))
        source = ["-m", f"models:/{model}@champion", "--env-manager", "local"]
        command = [*MLFLOW, "predict", *source, "-i", str(given), "-o", str(answers), "-t", "json"]
        done = subprocess.run(command, cwd=empty, env=environment(root), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return 200, json.loads(answers.read_text())

    as_measured(root, job, post)


def pickled(data: bytes) -> bool:
    """Whether bytes are a pickle of protocol 2 or later, or an archive, in which one may hide."""
    return (data[:1] == b"\x80" and data[-1:] == b".") or data[:4] == b"PK\x03\x04"


@pytest.mark.slow
def test_no_model_holds_a_pickle(every_task: Every) -> None:
    root, _ = every_task
    paths = [path for path in (root / "mlruns/artifacts").rglob("*") if path.is_file()]
    assert len([path for path in paths if path.name == "weights.safetensors"]) == len(
        list((root / "metrics").iterdir())
    )
    # webp: what MLflow shows of an image by step; css and js are of the report, in the model's copy of the code
    known = {"", ".css", ".csv", ".js", ".json", ".png", ".py", ".safetensors", ".txt", ".webp", ".yaml", ".yml"}
    assert {path.suffix for path in paths} <= known
    assert not [path for path in paths if pickled(path.read_bytes())]
    assert not [path for path in paths if path.name == "requirements.txt" and "pickle" in path.read_text()]
    archive = io.BytesIO()
    torch.save({}, archive)
    assert pickled(pickle.dumps({})), "control"
    assert pickled(archive.getvalue()), "control"
