"""Published weights: known by name without torch, verified by digest, used where they lie, and loaded by name."""

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models

from pipeline import checkpoint, pretrained_weights
from pipeline.errors import UserError
from pipeline.models.parts.spec import Spec, build_network
from pipeline.params import Job, Params
from pipeline.sample import Facts
from pipeline.train import stage
from tests.helpers import support

Project = Callable[..., tuple[Path, Params]]
NAME = "ResNet18_Weights.IMAGENET1K_V1"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of torch.hub's, and no connection."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def refused(*_: Any, **__: Any) -> None:
        raise OSError("no connection")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refused)
    return tmp_path / "torch/hub/checkpoints"


def publish(network: nn.Module, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a network's weights where published ones lie, under an address that bears their digest."""
    cache.mkdir(parents=True)
    torch.save(network.state_dict(), cache / "new.pth")
    digest = hashlib.sha256((cache / "new.pth").read_bytes()).hexdigest()
    address = f"https://models.invalid/new-{digest[:8]}.pth"
    monkeypatch.setattr(pretrained_weights, "read_table", lambda: {NAME: address})
    return (cache / "new.pth").rename(cache / address.rsplit("/", 1)[1])


def test_names_and_addresses_are_those_of_torchvision() -> None:
    for module in (models, models.detection, models.segmentation):
        for name in models.list_models(module=module):
            for entry in models.get_model_weights(name):
                assert pretrained_weights.url(str(entry)) == entry.url
                assert re.fullmatch("[0-9a-f]{8,}", pretrained_weights.digest(str(entry)))
            kind = models.get_model_weights(name)
            assert pretrained_weights.url(f"{kind.__name__}.DEFAULT") == kind.DEFAULT.url


def test_the_table_is_the_one_that_its_generator_writes() -> None:
    """If torchvision was updated: `python -m pipeline.pretrained_weights`."""
    assert pretrained_weights.read_table() == pretrained_weights.published()


def test_a_name_is_checked_without_torch() -> None:
    text = "import sys; from pipeline import pretrained_weights as p; p.url(sys.argv[1]); "
    text += "assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", text, NAME], check=False).returncode == 0


def test_the_cache_is_torch_hubs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TORCH_HOME", "/somewhere"), ("XDG_CACHE_HOME", "/elsewhere"), ("HOME", "/home/other")):
        for other in ("TORCH_HOME", "XDG_CACHE_HOME"):
            monkeypatch.delenv(other, raising=False)
        monkeypatch.setenv(name, value)
        assert pretrained_weights.path(NAME).parent == Path(torch.hub.get_dir()) / "checkpoints"


@pytest.mark.parametrize("wrong", ["ResNet18_Weights.IMAGENET_V1", "Resnet18_Weights.IMAGENET1K_V1", "resnet18"])
def test_a_wrong_name_is_reported_before_anything_runs_with_near_ones(project: Project, wrong: str) -> None:
    with pytest.raises(
        UserError, match=r"jobs\.a\.pretrained\.weights: torchvision publishes no weights named"
    ) as told:
        project({"a": {"pretrained": {"weights": wrong}}})
    assert wrong == "resnet18" or NAME in str(told.value)


def test_what_can_not_be_fetched_says_which_file_goes_where(project: Project, cache: Path, here: None) -> None:
    root, params = project({"a": {"pretrained": {"weights": NAME}}})
    with pytest.raises(UserError) as told:
        stage.run(params, root)
    for part in (
        "jobs.a.pretrained.weights",
        models.ResNet18_Weights.IMAGENET1K_V1.url,
        f"{cache}/resnet18-f37072fd.pth",
    ):
        assert part in str(told.value)
    assert not list((root / ".work").glob("jobs/*/state.json"))


def test_a_file_of_other_bytes_is_refused(cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "resnet18-f37072fd.pth").write_bytes(b"half a file")
    with pytest.raises(UserError, match=r"resnet18-f37072fd\.pth is not the file at https.*Delete it"):
        pretrained_weights.fetch(NAME)


def test_a_file_put_there_is_trained_from(
    project: Project, cache: Path, here: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = models.resnet18(num_classes=7)
    publish(theirs, cache, monkeypatch)
    root, params = project(
        {"a": {"architecture": "resnet", "size": 32, "channels": 3, "epochs": 0, "pretrained": {"weights": NAME}}}
    )
    stage.run(params, root)
    learner, _ = checkpoint.load(root / "models/a")
    state = learner.network.state_dict()
    taken = {name for name, value in theirs.state_dict().items() if torch.equal(state[name], value)}
    assert taken == set(state) - {"fc.weight", "fc.bias"}
    assert "starts without fc.bias, fc.weight of the weights" in capsys.readouterr().out


def test_other_weights_make_another_fingerprint(project: Project) -> None:
    root, params = project({"a": {}, "b": {"pretrained": {"weights": NAME}}})
    job_specs = support.job_specs(root, params)
    changed = support.write_params(root, {"a": {}, "b": {"pretrained": {"weights": "ResNet34_Weights.DEFAULT"}}})
    assert (
        len({job_specs["a"].fingerprint, job_specs["b"].fingerprint, support.job_specs(root, changed)["b"].fingerprint})
        == 3
    )


def test_our_resnet_is_torchvisions_with_its_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = models.resnet18(num_classes=5)
    for layer in theirs.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, std=0.3)  # type: ignore[arg-type]
            nn.init.uniform_(layer.running_var, 0.5, 2)  # type: ignore[arg-type]
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    ours = build_network("resnet", Spec("classification", 5, 3, 64), {"depth": 18, "variant": "torchvision"})
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert not torch.allclose(ours.eval()(images), theirs.eval()(images))
        assert checkpoint.start(ours, tmp_path / "weights.pth") == []
        torch.testing.assert_close(ours(images), theirs(images))


def test_the_old_names_in_densenet_files_are_todays(tmp_path: Path) -> None:
    theirs = models.densenet121(num_classes=2)
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", name): v for name, v in theirs.state_dict().items()}
    assert set(old) != set(theirs.state_dict())
    torch.save(old, tmp_path / "old.pth")
    assert checkpoint.start(models.densenet121(num_classes=2), tmp_path / "old.pth") == []


class Harmful:
    """What runs code where a pickle is loaded without care."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("ran",)


@pytest.mark.parametrize("value", [Harmful(), {"state": {"a": torch.zeros(1)}}, b"no pickle"])
def test_a_file_that_holds_more_than_weights_is_refused(
    value: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "w.pth"
    file.write_bytes(value) if isinstance(value, bytes) else torch.save(value, file)
    with pytest.raises(UserError, match=r"w\.pth: (can't be read|holds more)"):
        checkpoint.start(nn.Linear(1, 1), file)
    assert "ran" not in capsys.readouterr().out


def facts() -> Facts:
    mean = {"1": [0.5], "3": [0.1, 0.2, 0.3]}
    return Facts("digits", ("a", "b"), (), {}, (1, 1), ("label",), mean, mean)


def test_images_are_normalised_as_the_weights_know_them() -> None:
    def mean(channels: int, **settings: Any) -> tuple[float, ...]:
        known = {"task": "classification", "architecture": "resnet", "dataset": "d", "channels": channels}
        return checkpoint.settings(Job.model_validate({**known, **settings}), facts()).mean

    given = {"pretrained": {"weights": NAME}}
    assert mean(3, **given) == tuple(models.ResNet18_Weights.IMAGENET1K_V1.transforms().mean)
    assert mean(3, pretrained={"weights": "EfficientNet_V2_L_Weights.DEFAULT"}) == (0.5, 0.5, 0.5)
    assert (
        mean(3, pretrained={"weights": "FasterRCNN_ResNet50_FPN_Weights.DEFAULT"}) == pretrained_weights.IMAGENET_MEAN
    )
    assert (mean(3), mean(1, **given)) == ((0.1, 0.2, 0.3), (0.5,))
