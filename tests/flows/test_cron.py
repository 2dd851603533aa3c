"""Cron schedules plan runs with the locked Prefect, in every zone."""

import asyncio
import sys
from datetime import UTC, datetime

import pytest
from prefect.server.schemas import schedules

from flows import _prefect

START = datetime(2026, 11, 26, 1, 30, tzinfo=UTC)


def planned(zone: str | None) -> list[datetime]:
    schedule = schedules.CronSchedule(cron="0 3 * * *", timezone=zone)
    return [moment.astimezone(UTC) for moment in asyncio.run(schedule.get_dates(2, start=START))]


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A patch made here ends with its test."""
    monkeypatch.setattr(schedules, "_whenever_zdt_from_py", schedules._whenever_zdt_from_py)


@pytest.mark.parametrize(("zone", "hour"), [(None, 3), ("UTC", 3), ("Europe/Berlin", 2)])
def test_a_cron_plans_its_runs(zone: str | None, hour: int) -> None:
    _prefect.patch_cron_time_zones()
    assert planned(zone) == [datetime(2026, 11, day, hour, tzinfo=UTC) for day in (26, 27)]


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="there Prefect has the zones of the standard library")
def test_the_patch_is_still_needed() -> None:
    """Delete flows/_prefect.py when this fails."""
    with pytest.raises(ValueError, match="must be of type ZoneInfo"):
        planned("UTC")
