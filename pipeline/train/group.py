"""The process group of the workers that train in lanes of several.

Its meeting place, rank 0's store, listens on the address by which the nodes know each other, which is the loopback
for a Ray of one's own. Torch's own would listen on all addresses and let anyone in.
"""

import datetime
import socket
from collections.abc import Callable
from typing import Any

import torch.distributed as dist


def join(
    rank: int, world: int, address: str, share: Callable[[Any], Any], *, backend: str, timeout: datetime.timedelta
) -> None:
    """Make this process a member.

    Args:
        rank: This process's number among the `world`.
        world: How many there are.
        address: This node's.
        share: Gives rank 0's value to all; every process calls it.
        backend: Torch's name of what carries tensors.
        timeout: How long a member is waited for.
    """
    store, place = None, None
    if rank == 0:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listening = socket.create_server((address, 0), family=family, backlog=world)
        place = (address, listening.getsockname()[1])
        store = dist.TCPStore(
            *place, world, True, timeout, wait_for_workers=False, master_listen_fd=listening.detach(), use_libuv=True
        )
    place = share(place)
    store = store or dist.TCPStore(*place, world, False, timeout)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=timeout)
