"""The process group of the workers, needed where several processes train one job.

Rank 0's TCPStore listens on the node's own address, which is the loopback for a local Ray. The store that torch makes
by itself listens on all addresses, and anyone could connect.
"""

import datetime
import socket
from collections.abc import Callable
from typing import Any

import torch.distributed as dist


def join(
    rank: int, world: int, address: str, broadcast: Callable[[Any], Any], *, backend: str, timeout: datetime.timedelta
) -> None:
    """Join the process group.

    Args:
        rank: This process's rank.
        world: Number of processes.
        address: This node's address.
        broadcast: Returns rank 0's value on every rank; every process calls it.
        backend: `gloo` or `nccl`.
        timeout: How long collectives wait for a process.
    """
    make: Any = dist.TCPStore  # type: ignore[attr-defined]
    store, store_address = None, None
    if rank == 0:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listening = socket.create_server((address, 0), family=family, backlog=world)
        store_address = (address, listening.getsockname()[1])
        store = make(*store_address, world, True, timeout, wait_for_workers=False, master_listen_fd=listening.detach())
    store_address = broadcast(store_address)
    store = store or make(*store_address, world, False, timeout)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=timeout)
