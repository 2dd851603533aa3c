"""The one choice of device: CUDA, else MPS, else the CPU; the variable CONVLINE_DEVICE overrides it.

It decides no result: what was made on one device stays valid on another.
"""

import os

from pipeline.errors import UserError

VARIABLE = "CONVLINE_DEVICE"
#: from the fastest on
CHOICES = ("cuda", "mps", "cpu")


def wanted() -> str | None:
    """The device that CONVLINE_DEVICE names; None if it names none. UserError if there is no such device anywhere."""
    value = os.environ.get(VARIABLE, "").strip().lower()
    if value and value not in CHOICES:
        raise UserError(f"{VARIABLE}={value}: there is no such device. Set it to {_listed(CHOICES)}, or unset it.")
    return value or None


def choose(*, cuda: bool = True) -> str:
    """The device of this process: the one that CONVLINE_DEVICE names, or the fastest; UserError if it has no such.

    cuda: False where somebody else shares out CUDA's devices, as Ray does, and this process got none.
    """
    available, asked = _available(cuda=cuda), wanted()
    if asked is not None and asked not in available:
        raise UserError(
            f"{VARIABLE}={asked}: torch has no such device here. Set it to {_listed(available)}, or unset it."
        )
    return asked or available[0]


def title(device: str) -> str:
    """What the output says of a device: `cuda (NVIDIA H100)`, else `mps` or `cpu`."""
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else device


def _available(*, cuda: bool) -> list[str]:
    import torch

    has = {"cuda": cuda and torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return [name for name in CHOICES if has[name]]


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
