"""Ray for staging: one function over independent parts, on all cores of this machine.

It always runs on this machine, even if RAY_ADDRESS names a cluster, because DVC stores the resulting files here.
"""

from collections.abc import Callable, Sequence
from typing import Any

from pipeline import cluster, preflight, project


def each(function: Callable[[Any], None], parts: Sequence[Any]) -> None:
    """Call `function` with every part; the first error ends all calls and is raised unchanged."""
    cluster.configure()
    import ray

    environment = {"env_vars": {"PYTHONPATH": str(project.CODE), "OPENCV_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}}
    with preflight.short_temp_folder() as folder:
        with cluster.starting():
            ray.init(
                address="local",
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
                runtime_env=environment,
                _node_ip_address="127.0.0.1",
                **({"_temp_dir": folder} if folder else {}),
            )
        try:
            cluster.silence(ray._private.worker)
            with cluster.end_together(ray.shutdown):
                remote = ray.remote(max_retries=2)(function)
                waiting = [remote.remote(part) for part in parts]
                while waiting:
                    done, waiting = ray.wait(waiting)
                    ray.get(done)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
