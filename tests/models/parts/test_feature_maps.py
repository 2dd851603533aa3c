"""Features are the outputs of named submodules; their shapes need no computation."""

from collections import OrderedDict

import torch
from torch import nn

from pipeline.models import lenet5
from pipeline.models.parts.feature_maps import features, inputs, level_shapes
from pipeline.models.parts.spec import Spec


def network() -> nn.Module:
    """Strides 2 and 8, and a head that takes images of 32×32 only."""
    return nn.Sequential(
        OrderedDict(
            fine=nn.Conv2d(3, 4, 3, stride=2, padding=1),
            coarse=nn.Sequential(nn.Conv2d(4, 8, 7, stride=2), nn.BatchNorm2d(8), nn.MaxPool2d(2)),
            head=nn.Sequential(nn.Flatten(), nn.Linear(8 * 2 * 2, 5)),
        )
    )


def test_feature_maps_are_the_outputs_of_the_submodules() -> None:
    net = network().eval()
    images = torch.rand(2, 3, 32, 32)
    feature_maps = features(net, images, ("fine", "coarse"))
    assert list(feature_maps) == ["fine", "coarse"]
    fine = net.get_submodule("fine")(images)
    torch.testing.assert_close(feature_maps["fine"], fine)
    torch.testing.assert_close(feature_maps["coarse"], net.get_submodule("coarse")(fine))


def test_gradients_flow_and_no_hook_stays() -> None:
    net = network()
    output = features(net, torch.rand(2, 3, 32, 32), ("coarse",))["coarse"]
    (gradient,) = torch.autograd.grad(output.square().sum(), [net.get_parameter("fine.weight")])
    assert bool(gradient.any())
    assert not any(module._forward_hooks for module in net.modules())


def test_the_head_does_not_limit_the_image_size() -> None:
    assert features(network(), torch.rand(1, 3, 96, 64), ("coarse",))["coarse"].shape == (1, 8, 10, 6)


def test_shapes_without_computing() -> None:
    net = network()
    assert level_shapes(net, ("fine", "coarse"), 3, 32) == {"fine": (4, 2), "coarse": (8, 8)}
    assert {parameter.device.type for parameter in net.parameters()} == {"cpu"}
    assert not net.get_submodule("coarse.1").get_buffer("running_mean").any()


def test_shapes_of_lenet5() -> None:
    net = lenet5.build(Spec("classification", 10, 1, 28), variant="paper")
    assert level_shapes(net, lenet5.LEVELS, 1, 28) == {"c1": (6, 1), "c3": (16, 2), "c5": (120, 4)}


def test_a_heads_inputs_are_recorded_and_no_hook_stays() -> None:
    net = network().eval()
    images = torch.rand(5, 3, 32, 32)
    with inputs(net, "head") as recorded, inputs(net, "head.1", step=2) as flat:
        net(images)
        net(images[:2])
    feature_maps = features(net, images, ("coarse",))["coarse"]
    torch.testing.assert_close(recorded[0], feature_maps.mean((2, 3)))
    assert [len(rows) for rows in recorded] == [5, 2]
    torch.testing.assert_close(flat[0], feature_maps[::2].flatten(1))
    net(images)
    assert len(recorded) == 2
