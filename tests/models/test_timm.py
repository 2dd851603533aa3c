"""timm's networks by name: as classifiers and backbones, with its weights."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from pipeline import checkpoint
from pipeline.errors import UserError
from pipeline.models.parts.spec import Spec, anatomy, build_network

NETWORK = "mobilenetv3_small_050"
BACKBONE: dict[str, Any] = {"backbone": "timm", "backbone_options": {"name": NETWORK}}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    file = tmp_path_factory.mktemp("weights") / f"{NETWORK}.safetensors"
    save_file(timm.create_model(NETWORK, num_classes=7).state_dict(), file)
    return file


def test_the_library_is_not_shadowed_by_the_file_of_its_name() -> None:
    assert Path(timm.__file__).parts[-3] == "site-packages"
    assert build_network("timm", Spec("classification", 4, 3, 32), {"name": NETWORK}).__module__.startswith("timm.")


def test_a_classifier_is_timms_with_its_weights(weights: Path) -> None:
    ours = build_network("timm", Spec("classification", 7, 3, 64), {"name": NETWORK}).eval()
    theirs = timm.create_model(NETWORK, num_classes=7, checkpoint_path=str(weights)).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert not torch.allclose(ours(images), theirs(images))
        assert checkpoint.start(ours, weights) == []
        torch.testing.assert_close(ours(images), theirs(images))


@pytest.mark.parametrize("name", [NETWORK, "tf_efficientnet_lite0", "resnet18", "convnext_atto", "regnetx_002"])
def test_levels_lead_to_the_head(name: str) -> None:
    network: Any = build_network("timm", Spec("classification", 4, 3, 64), {"name": name})
    parts = anatomy(network)
    assert parts.head == network.default_cfg["classifier"]
    assert len(parts.levels) == 4


@pytest.mark.parametrize(
    ("architecture", "task", "options"),
    [
        ("cam", "localization", {}),
        ("heatmap", "localization", {}),
        ("fcn8s", "segmentation", {}),
        ("faster_rcnn", "detection", {}),
    ],
)
def test_a_backbone_starts_from_timms_weights(
    architecture: str, task: str, options: dict[str, Any], weights: Path
) -> None:
    network = build_network(architecture, Spec(task, 4, 3, 64), {**BACKBONE, **options})
    unmatched = {name.split(".")[0] for name in checkpoint.start(network, weights)}
    assert unmatched <= {"classifier", "conv_head", "norm_head", "bn2"}


def test_a_wrong_name_is_reported_with_near_ones() -> None:
    with pytest.raises(UserError, match=r"options\.name: timm has no network 'resnet81'\. Similar names: .*resnet18"):
        build_network("timm", Spec("classification", 4, 3, 64), {"name": "resnet81"})


def test_a_network_for_images_of_one_size_is_refused() -> None:
    with pytest.raises(UserError, match=r"(options\.name|size): .*vit_tiny_patch16_224"):
        build_network("timm", Spec("classification", 4, 3, 64), {"name": "vit_tiny_patch16_224"})
