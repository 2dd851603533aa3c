"""FID's Inception: torchvision's network with the pooling of TensorFlow's graph, and that graph's resizing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import inception_v3

from pipeline.models.parts import inception_2015


@pytest.fixture(scope="module")
def pair() -> tuple[inception_2015.Inception, nn.Module]:
    """Ours, and torchvision's with the same random weights, which read normalisations of their own."""
    torch.manual_seed(0)
    ours = inception_2015.Inception().eval()
    for name, buffer in ours.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    theirs = inception_v3(init_weights=False, aux_logits=False, num_classes=1008).eval()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def patched(monkeypatch: pytest.MonkeyPatch, theirs: nn.Module) -> None:
    """Make torchvision's blocks pool as the graph of 2015 does."""
    avg_pool2d = functional.avg_pool2d

    def without_border(values: Tensor, **kwargs: Any) -> Tensor:
        return avg_pool2d(values, **kwargs, count_include_pad=False)

    monkeypatch.setattr(functional, "avg_pool2d", without_border)
    last: Any = theirs.get_submodule("Mixed_7c")
    whole = type(last)._forward

    def largest(values: Tensor) -> list[Tensor]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(functional, "avg_pool2d", functional.max_pool2d)
            logits: list[Tensor] = whole(last, values)
        return logits

    monkeypatch.setattr(last, "_forward", largest)


@torch.inference_mode()
def test_it_is_torchvisions_network_with_the_pools_of_2015(
    pair: tuple[inception_2015.Inception, nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = pair
    images = torch.rand(2, 3, 139, 139) * 2 - 1
    logits, other = ours(images), theirs(images)
    patched(monkeypatch, theirs)
    torch.testing.assert_close(logits, theirs(images), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(logits, other, rtol=1e-2)  # the control: torchvision's own differs


def test_weights_of_another_network_are_refused(
    pair: tuple[inception_2015.Inception, nn.Module], tmp_path: Path
) -> None:
    state = pair[0].state_dict()
    torch.save(state, tmp_path / "all.pth")
    for name, value in inception_2015.read(tmp_path / "all.pth").state_dict().items():
        assert torch.equal(value, state[name])
    del state["fc.bias"]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(RuntimeError, match=r"fc\.bias"):
        inception_2015.read(tmp_path / "part.pth")


def test_resizing_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow 1 without aligned corners: pixel i is at i·2/4, and beyond the last pixel there is that pixel."""
    monkeypatch.setattr(inception_2015, "SIZE", 4)
    images = torch.tensor([[0.0, 8], [4, 20]]).view(1, 1, 2, 2)
    expected = torch.tensor([[0.0, 4, 8, 8], [2, 8, 14, 14], [4, 12, 20, 20], [4, 12, 20, 20]])
    torch.testing.assert_close(inception_2015.resized(images)[0, 0], expected)
    wide = torch.arange(8.0).expand(1, 1, 8, 8)
    assert inception_2015.resized(wide)[0, 0, 0].tolist() == [0, 2, 4, 6]  # nothing is averaged
