"""The linear classifier: a weight for each pixel and class.

LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition, Proc. IEEE 86 (1998),
section III-C.1, http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf.
Promise: pixels × classes weights and a bias per class, 7,850 for MNIST; the baseline that other jobs must beat.
"""

from collections import OrderedDict

from torch import nn

from pipeline.models.parts.spec import Spec

TASKS = ("classification",)
PAPER = {"input": [1, 28, 28], "classes": 10, "options": {}, "parameters": 7_850}
LEVELS = ()
HEAD = "output"


def build(spec: Spec) -> nn.Module:
    """Images B×C×S×S → logits B×classes."""
    pixels = spec.channels * spec.size**2
    return nn.Sequential(OrderedDict(flatten=nn.Flatten(), output=nn.Linear(pixels, spec.classes)))
