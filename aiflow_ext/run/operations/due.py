"""When a periodic job was due last, and is due next: intervals, and cron expressions across changes of the local clock.

cronsim (https://github.com/cuu508/cronsim) computes local times of a cron expression; this module maps them to moments.
A job that is due every hour follows the local clock: a time that occurs twice is due twice, and one that is skipped is
due when it would have come. Any other job is due once: at the change if its time is skipped, and the first time if it
occurs twice.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aiflow_ext.model.config import PeriodicConfig
from aiflow_ext.model.errors import ConfigError
from aiflow_ext.translate.misfits import Misfit
from aiflow_ext.translate.periodic_key import checked_cron, checked_interval, checked_time_zone

_EPOCH = datetime(2000, 1, 1, tzinfo=timezone.utc)
_NEAR = timedelta(hours=25)  # no zone has ever changed its clock by more than a day
_MINUTE = timedelta(minutes=1)


def previous_and_next(periodic: PeriodicConfig, now: datetime) -> tuple[datetime, datetime]:
    """The last moment at or before ``now`` at which a job was due, and the next one after it, in UTC.

    Intervals are counted from 2000-01-01T00:00Z, so that every process gets the same moments. Raises ConfigError for
    invalid cron expressions, intervals and time zones, and for those that are never due.
    """
    try:
        if periodic.interval is not None:
            step = timedelta(seconds=checked_interval(periodic.interval))
            last = _EPOCH + step * ((now - _EPOCH) // step)
            return last, last + step
        cron, zone = checked_cron(periodic.cron), ZoneInfo(checked_time_zone(periodic.time_zone))
    except Misfit as misfit:
        _, message, hint = misfit.items[0]
        what = "interval" if periodic.interval is not None else "period"
        raise ConfigError(f"its {what} {message}", hint=hint) from misfit
    except ZoneInfoNotFoundError as error:
        raise ConfigError(
            f"there is no time zone {periodic.time_zone!r} on this machine", hint="install the tz database, or tzdata"
        ) from error
    before, following = _nearest(cron, zone, now, False), _nearest(cron, zone, now, True)
    if before is None or following is None:
        raise ConfigError(f"{cron!r} never comes due", hint="look at its day of the month and its month")
    return before, following


def _nearest(cron: str, zone: ZoneInfo, now: datetime, forward: bool) -> datetime | None:
    """The first moment after ``now``, or the last one at or before it; None where there is none."""
    from cronsim import CronSim

    hourly = len(CronSim(cron, _EPOCH).hours) == 24
    offsets = [(now + step).astimezone(zone).utcoffset() or timedelta(0) for step in (-_NEAR, timedelta(0), _NEAR)]
    # Near a change of the clock local time may be as far off as the clock is moved: extend the range by that much.
    margin = max(offsets) - min(offsets)
    # Local times as if they were UTC, so that cronsim ignores changes of the clock.
    hands = now.astimezone(zone).replace(tzinfo=timezone.utc)
    begin, end = (hands - margin - _MINUTE, hands + margin) if forward else (hands + margin + _MINUTE, hands - margin)
    nearest: datetime | None = None
    for shown in CronSim(cron, begin, reverse=not forward):
        if nearest is not None and (shown > end if forward else shown < end):
            break
        for moment in _moments(shown.replace(tzinfo=zone), hourly):
            if (moment > now) == forward and (nearest is None or (moment < nearest) == forward):
                nearest = moment
    return nearest


def _moments(shown: datetime, hourly: bool) -> list[datetime]:
    """The moments at which a job is due whose local time is this."""
    first, second = (shown.replace(fold=fold).astimezone(timezone.utc) for fold in (0, 1))
    if first == second:
        return [first]
    if first < second:  # it comes twice
        return [first, second] if hourly else [first]
    if hourly:
        return [first]
    # It is skipped: with the offset before the change it is after the change, with the offset after it before.
    low, high = second, first
    offset = low.astimezone(shown.tzinfo).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        if middle.astimezone(shown.tzinfo).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return [high.replace(microsecond=0)]
