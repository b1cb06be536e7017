"""The key ``periodic`` of a job's config: what it may hold. So may the entries of ``schedule`` in project.yaml."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

from aiflow_ext.model.config import PeriodicConfig
from aiflow_ext.model.spelling import near
from aiflow_ext.translate.durations import seconds
from aiflow_ext.translate.fitting import fit
from aiflow_ext.translate.keyed import keyed
from aiflow_ext.translate.misfits import Misfit, given
from aiflow_ext.translate.yaml_source import Located

_PERIODIC_KEYS = {
    "cron": "cron", "interval": "interval", "time_zone": "time_zone",
    "cron_config": "cron", "cron_expression": "cron", "interval_config": "interval", "interval_expression": "interval",
}  # fmt: skip


def checked_period(part: Located) -> PeriodicConfig:
    if isinstance(part.value, PeriodicConfig):  # a plugin's own default
        part = Located(part.value.to_json(), part.mark, part.file)
    if not isinstance(part.value, Mapping):
        raise Misfit(f"must be a mapping, not {given(part.value)}", 'write {cron: "0 3 * * *"} or {interval: 10m}')
    values, wrong = keyed(part.value, _PERIODIC_KEYS, _PERIOD, "a period", "cron or interval, and time_zone")
    named = {_PERIODIC_KEYS.get(key) for key, value in part.value.items() if isinstance(key, str) and value is not None}
    if ("cron" in named) == ("interval" in named):
        both = "both cron and interval" if "cron" in named else "neither cron nor interval"
        wrong.append(((), f"has {both}", 'say one: {cron: "0 3 * * *"} or {interval: 10m}'))
    if wrong:
        raise Misfit(items=wrong)
    return PeriodicConfig(**values)


_NICKNAMES = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip


def checked_cron(value: Any) -> str:
    """A cron expression of five fields that comes due some time. Raises Misfit."""
    from cronsim import CronSim, CronSimError

    text = str(fit(value, str))
    fields = text.split()
    if len(fields) != 5:
        hint = 'such as "0 3 * * *": every day at 3'
        if text.strip().lower() in _NICKNAMES:
            hint = f"write {_NICKNAMES[text.strip().lower()]!r}"
        if len(fields) in (
            6,
            7,
        ):  # AI Flow's, and Quartz's: seconds first, and a year last; cron's of some systems: a year last
            shorter, extra = fields[1:6], "the seconds and the year" if len(fields) == 7 else "the seconds"
            if (
                len(fields) == 6 and len(fields[5]) >= 4 and fields[5][:4].isdecimal()
            ):  # a number of four digits is no day of the week
                shorter, extra = fields[:5], "the year"
            hint = f"leave out {extra}: {' '.join(shorter).replace('?', '*')!r}"
        raise Misfit(
            f"must be a cron expression of five fields (minute, hour, day, month, weekday), not {given(value)}", hint
        )
    try:
        next(CronSim(text, datetime.now(timezone.utc)))
    except CronSimError as error:
        raise Misfit(
            f"is no cron expression: {given(value)}: {error}", 'such as "0 3 * * *": every day at 3'
        ) from error
    except StopIteration:
        raise Misfit(f"never comes due: {given(value)}", "look at its day of the month and its month") from None
    return text


# Each firing is a run of its own, with a driver; and an interval of a hundred years is a mistake.
_SHORTEST, _LONGEST = 1.0, 3650 * 86400.0


def checked_interval(value: Any) -> float:
    """Seconds between two firings. Raises Misfit for what is too short or too long to be meant."""
    # AI Flow's form: days, hours, minutes, seconds.
    if isinstance(value, str) and re.fullmatch(r"\s*\d+(\s*,\s*\d+){3}\s*", value):
        days, hours, minutes, rest = (float(each) for each in value.split(","))
        value = ((days * 24 + hours) * 60 + minutes) * 60 + rest
    number = seconds(value)
    if not _SHORTEST <= number <= _LONGEST:
        raise Misfit(f"must be from 1s to 3650d, not {given(value)}", "such as 10m")
    return number


def checked_time_zone(value: Any) -> str:
    """The IANA name of a time zone. Raises Misfit for one that this machine does not know."""
    import zoneinfo

    name = str(fit(value, str))
    try:
        zoneinfo.ZoneInfo(name)
    except Exception:
        known = zoneinfo.available_timezones()
        if known:  # a machine without the tz database cannot tell
            hint = near(name, known) or "use an IANA name such as Europe/Berlin"
            raise Misfit(f"must be a time zone, not {given(value)}", hint) from None
    return name


_PERIOD: dict[str, Callable[[Any], Any]] = {
    "cron": checked_cron,
    "interval": checked_interval,
    "time_zone": checked_time_zone,
}
