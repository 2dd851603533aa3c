"""Prefect's command line, as `python -m prefect`, with cron schedules that work on Python 3.11 and 3.12.

There Prefect 3.9.1 passes pendulum's time zones to whenever 0.10.5, which takes only those of the standard library:
every look at a cron schedule ends in a ValueError, and no run is planned. tests/flows/test_cron.py fails once Prefect
works without this patch.
"""

import datetime
import runpy
from typing import Any
from zoneinfo import ZoneInfo


def patch_cron_time_zones() -> None:
    """Give cron schedules time zones of the standard library."""
    from prefect.server.schemas import schedules

    convert = schedules._whenever_zdt_from_py

    def convert_standard(moment: datetime.datetime) -> Any:
        zone = moment.tzinfo
        return convert(moment.replace(tzinfo=ZoneInfo(zone.key)) if isinstance(zone, ZoneInfo) else moment)

    schedules._whenever_zdt_from_py = convert_standard


if __name__ == "__main__":
    patch_cron_time_zones()
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
