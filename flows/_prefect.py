"""Prefect's command line, as `python -m prefect` is, with cron schedules that fire on Python 3.11 and 3.12.

There Prefect 3.9.1 hands whenever 0.10.5 times in pendulum's zones, and this takes those of the standard library
alone: every look at a cron schedule ends in a ValueError, and no run is planned. tests/flows/test_cron.py fails once
Prefect does without this.
"""

import datetime
import runpy
from typing import Any
from zoneinfo import ZoneInfo


def mend() -> None:
    """Give cron schedules zones of the standard library."""
    from prefect.server.schemas import schedules

    make = schedules._whenever_zdt_from_py

    def make_standard(moment: datetime.datetime) -> Any:
        zone = moment.tzinfo
        return make(moment.replace(tzinfo=ZoneInfo(zone.key)) if isinstance(zone, ZoneInfo) else moment)

    schedules._whenever_zdt_from_py = make_standard


if __name__ == "__main__":
    mend()
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
