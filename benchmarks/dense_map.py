"""What dilation saves: a class for every pixel by the à trous way, beside shift-and-stitch, from the same weights.

Long et al. 2015, section 3.2, https://arxiv.org/abs/1411.4038: both give the same map, which is checked here.
"""

import torch

from benchmarks.parts import ratios
from pipeline.models import shift_and_stitch
from pipeline.models.parts.spec import Spec

TITLE = "shift-and-stitch; ours dilated: LeNet-5's class of every pixel of 8 images, 64×64"
NEEDS = ()
IMAGES, SIDE, CLASSES = 8, 64, 11


@torch.inference_mode()
def measure() -> ratios.Ratio:
    """The same maps on both sides."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    spec = Spec("segmentation", CLASSES, 3, SIDE)
    stitched, dilated = (
        shift_and_stitch.build(spec, backbone="lenet5", window=32, mode=mode).eval() for mode in shift_and_stitch.MODES
    )
    dilated.load_state_dict(stitched.state_dict())
    images = torch.randn(IMAGES, 3, SIDE, SIDE)
    torch.testing.assert_close(dilated(images), stitched(images))
    return ratios.ratio(lambda: dilated(images), lambda: stitched(images))
