"""Frozen features: a network with published weights that does not change, and a linear classifier on what it computes.

Donahue, Jia, Vinyals, Hoffman, Zhang, Tzeng, Darrell: DeCAF: A Deep Convolutional Activation Feature for Generic
Visual Recognition, ICML 2014, https://arxiv.org/abs/1310.1531. Kornblith, Shlens, Le: Do Better ImageNet Models
Transfer Better?, CVPR 2019, https://arxiv.org/abs/1805.08974, compares sixteen networks so.

The network is the `backbone` itself, so that its weights have the names that they have there; only its last layer is
fitted (`epochs: 0`), by logistic regression whose penalty val chooses. Each image passes through the network once: its
features are kept for other jobs on the same network and images (pipeline/train/features.py).
"""

from typing import Any, Literal

from torch import nn

from pipeline.errors import UserError
from pipeline.learners.base import Learner, Settings
from pipeline.learners.classifier import weights_by_class
from pipeline.learners.frozen_features import FrozenFeatures
from pipeline.models.parts.spec import Spec, anatomy, build_network

TASKS = ("classification",)
SMALL = {"size": 32, "options": {"backbone": "resnet", "backbone_options": {"depth": 20, "width": 4}}}


def build(spec: Spec, *, backbone: str = "torchvision", backbone_options: dict[str, Any] | None = None) -> nn.Module:
    """The backbone: images B×C×S×S → logits B×classes.

    backbone: any classifier whose last layer is linear · backbone_options: of its `build`.
    """
    network = build_network(backbone, spec, backbone_options or {})
    last = anatomy(network).head
    if last is None or not isinstance(network.get_submodule(last), nn.Linear):
        raise UserError(f"options.backbone: the last layer of {backbone} is not linear. Choose another network.")
    return network


def learner(
    network: nn.Module,
    settings: Settings,
    *,
    head: Literal["logistic", "ridge", "svm"] = "logistic",
    class_weights: Literal["balanced"] | dict[str, float] | None = None,
) -> Learner:
    """The learner.

    Args:
        network: the backbone.
        settings: classes and image scaling.
        head: what is fitted to the features: a logistic regression, a ridge regression, or support vector machines.
        class_weights: weight of an image in the loss by its class's name, 1 by default; or `balanced`: inverse to the
            class's frequency in the train split.
    """
    return FrozenFeatures(network, settings, head, weights_by_class(settings, class_weights))
