"""timm's published weights: known by name without timm, fetched from a hub, held against weights.lock."""

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save

from pipeline import checkpoint, pretrained_weights, timm_weights
from pipeline.errors import UserError
from pipeline.params import Job, Params
from pipeline.sample import Facts
from pipeline.train import stage
from tests.helpers import support

Project = Callable[..., tuple[Path, Params]]
NETWORK = "mobilenetv3_small_050"
NAME = f"timm/{NETWORK}.lamb_in1k"
JOB = {"architecture": "timm", "options": {"name": NETWORK}, "size": 32, "channels": 3, "epochs": 0}
STARTS = {**JOB, "pretrained": {"weights": NAME}}


class Hub(ThreadingHTTPServer):
    """A hub on this machine that has one file; `requests` are the paths that were asked for."""

    def __init__(self, file: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.file, self.requests = file, list[str]()


class Answer(BaseHTTPRequestHandler):
    """The hub's answers to HEAD and GET: the file, its digest and a commit."""

    server: Hub

    def do_HEAD(self) -> None:
        self.server.requests.append(self.path)
        if self.path != f"/{NAME}/resolve/main/model.safetensors":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(self.server.file).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(self.server.file)))
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(self.server.file)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="session")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return dict(timm.create_model(NETWORK, num_classes=7).state_dict())


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty folders in the place of torch.hub's and the hub's; the first."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "huggingface"))
    return tmp_path / "torch/hub/checkpoints"


@pytest.fixture
def hub(state: dict[str, torch.Tensor], caches: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub(save(state)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield server
        server.shutdown()


@pytest.fixture
def offline(caches: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return caches


def lock(root: Path) -> dict[str, str]:
    return dict(json.loads((root / timm_weights.LOCK).read_text()))


def test_the_list_is_the_one_that_its_generator_writes() -> None:
    """If timm was updated: `python -m pipeline.timm_weights`."""
    assert list(timm_weights.read_table()) == timm_weights.published()


def test_a_name_is_checked_without_torch_or_timm() -> None:
    text = "import sys; from pipeline import pretrained_weights as p; p.url(sys.argv[1]); "
    text += "assert not {'torch', 'timm', 'huggingface_hub'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", text, NAME], check=False).returncode == 0


@pytest.mark.parametrize("wrong", [f"timm/{NETWORK}", f"timm/{NETWORK}.in1k", "timm/mobilenetv3_smal_050.lamb_in1k"])
def test_a_wrong_name_is_reported_before_anything_runs_with_near_ones(project: Project, wrong: str) -> None:
    with pytest.raises(UserError) as told:
        project({"a": {"pretrained": {"weights": wrong}}})
    for part in ("jobs.a.pretrained.weights: timm publishes no weights", repr(wrong), NAME):
        assert part in str(told.value)


def test_a_file_is_fetched_once_recorded_and_trained_from(
    project: Project, hub: Hub, caches: Path, here: None, state: dict[str, torch.Tensor]
) -> None:
    root, params = project({"a": STARTS})
    stage.run(params, root)
    learner, _ = checkpoint.load(root / "models/a")
    trained = learner.network.state_dict()
    taken = {name for name, value in state.items() if torch.equal(trained[name], value)}
    assert taken == set(trained) - {"classifier.weight", "classifier.bias"}
    assert lock(root) == {NAME: hashlib.sha256(hub.file).hexdigest()}
    assert (caches / f"timm-{NETWORK}.lamb_in1k.safetensors").read_bytes() == hub.file
    asked = len(hub.requests)
    stage.run(params, root)
    assert len(hub.requests) == asked


def test_a_file_in_the_hubs_own_cache_needs_no_connection(
    hub: Hub, caches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrained_weights.fetch(NAME, tmp_path)
    (caches / f"timm-{NETWORK}.lamb_in1k.safetensors").unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert pretrained_weights.fetch(NAME, tmp_path).read_bytes() == hub.file


@pytest.mark.parametrize("reason", ["offline", "refused", "missing"])
def test_what_can_not_be_fetched_says_which_file_goes_where(
    reason: str, project: Project, hub: Hub, caches: Path, monkeypatch: pytest.MonkeyPatch, here: None
) -> None:
    name = NAME
    if reason == "offline":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    elif reason == "refused":
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    else:
        name = "timm/tf_efficientnet_lite0.in1k"
    root, params = project({"a": {**STARTS, "pretrained": {"weights": name}}})
    with pytest.raises(UserError) as told:
        stage.run(params, root)
    target = caches / f"{name.replace('/', '-')}.safetensors"
    for part in ("jobs.a.pretrained.weights", f"{name}/resolve/main/model.safetensors", str(target)):
        assert part in str(told.value)
    assert not list((root / ".work").glob("jobs/*/state.json"))
    assert not (root / timm_weights.LOCK).exists()


def test_a_file_put_there_by_hand_is_used_and_recorded(
    offline: Path, tmp_path: Path, state: dict[str, torch.Tensor]
) -> None:
    target = pretrained_weights.path(NAME)
    target.parent.mkdir(parents=True)
    target.write_bytes(save(state))
    assert pretrained_weights.digest(NAME, tmp_path) == hashlib.sha256(save(state)).hexdigest() == lock(tmp_path)[NAME]


def test_half_a_file_is_refused_and_not_recorded(offline: Path, tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    target = pretrained_weights.path(NAME)
    target.parent.mkdir(parents=True)
    target.write_bytes(save(state)[:1000])
    with pytest.raises(UserError, match=r"pretrained\.weights: .*safetensors.*Delete it"):
        pretrained_weights.digest(NAME, tmp_path)
    assert not (tmp_path / timm_weights.LOCK).exists()


def test_a_file_of_other_bytes_than_recorded_is_refused(hub: Hub, caches: Path, tmp_path: Path) -> None:
    other = "f" * 64
    (tmp_path / timm_weights.LOCK).write_text(json.dumps({NAME: other}))
    with pytest.raises(UserError) as told:
        pretrained_weights.fetch(NAME, tmp_path)
    actual = hashlib.sha256(hub.file).hexdigest()
    for part in ("pretrained.weights", str(caches), actual[:12], other[:12], str(tmp_path / timm_weights.LOCK)):
        assert part in str(told.value)
    assert lock(tmp_path) == {NAME: other}


def test_the_recorded_digest_decides_the_fingerprint(project: Project, offline: Path) -> None:
    root, params = project({"a": STARTS})
    marks = []
    for digest in ("0" * 64, "1" * 64):
        (root / timm_weights.LOCK).write_text(json.dumps({NAME: digest}))
        marks.append(support.job_specs(root, params)["a"].fingerprint)
    assert marks[0] != marks[1]


def mean(**settings: Any) -> tuple[float, ...]:
    values = {"1": [0.5], "3": [0.1, 0.2, 0.3]}
    facts = Facts("digits", ("a", "b"), ("a",), {}, (1, 1), ("label",), values, values)
    job = {"task": "classification", "architecture": "resnet", "dataset": "d", "channels": 3}
    return checkpoint.settings(Job.model_validate({**job, **settings}), facts).mean


def test_images_are_normalised_as_the_weights_know_them() -> None:
    half, imagenet = (0.5, 0.5, 0.5), pretrained_weights.IMAGENET_MEAN
    file, lite = {"pretrained": {"file": "w.safetensors"}}, {"name": "tf_efficientnet_lite0"}
    assert mean(architecture="timm", options=lite) == (0.1, 0.2, 0.3)
    assert mean(architecture="timm", options=lite, **file) == half
    assert mean(architecture="cam", options={"backbone": "timm", "backbone_options": lite}, **file) == half
    assert mean(architecture="smp", options={"encoder": "tu-tf_efficientnet_lite0"}, **file) == half
    assert mean(architecture="smp", options={"encoder": "tu-resnet18"}, **file) == imagenet
    assert mean(**file) == (0.1, 0.2, 0.3)
    assert mean(architecture="timm", options=lite, channels=1, **file) == (0.5,)


def test_the_tag_of_a_name_decides_the_normalisation() -> None:
    options = {"architecture": "timm", "options": {"name": "tf_efficientnet_b0"}}
    means = {
        tag: mean(**options, pretrained={"weights": f"timm/tf_efficientnet_b0.{tag}"}) for tag in ("ap_in1k", "in1k")
    }
    assert means == {tag: timm.get_pretrained_cfg(f"tf_efficientnet_b0.{tag}").mean for tag in means}
    assert means["ap_in1k"] != means["in1k"]
