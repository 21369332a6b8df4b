"""Durations and percentages as people write them in manifests."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

from litefleet_controller.resources.causes import FieldError

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)
_PERCENT = re.compile(r"(\d{1,3})%", re.ASCII)


def parse_duration(value: object) -> float:
    """Seconds of `10m`, `1h30m`, `45s` or a plain non-negative number of seconds (Argo Rollouts accepts both)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise FieldError("TypeError", "a duration is written like 10m, 1h30m or 45s, or as a number of seconds")
    if isinstance(value, int | float):
        if not 0 <= value <= 10 * 365 * 86400:
            raise FieldError("OutOfRange", f"{value} is out of range for a duration in seconds")
        return float(value)
    if value.isascii() and value.isdecimal():
        return parse_duration(int(value[:12]))
    match = _DURATION.fullmatch(value)
    if not value or match is None:
        raise ValueError(f"{value[:40]!r} is not a duration: write 10m, 1h30m or 45s")
    hours, minutes, seconds = (int(g) if g else 0 for g in match.groups())
    return parse_duration(hours * 3600 + minutes * 60 + seconds)


def parse_count_or_percent(value: object) -> int | str:
    """A number of boards (at least 0), or a share such as `10%`."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise FieldError("OutOfRange", f"{value} is out of range: a number of boards is at least 0")
        return value
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if isinstance(value, str) and match is not None and int(match.group(1)) <= 100:
        return value
    raise FieldError(
        "TypeError" if match is None else "OutOfRange",
        f"{str(value)[:40]!r} is neither a number of boards nor a percentage between 0% and 100%",
    )


def parse_percent(value: object) -> float:
    """A share in [0, 100], written `95%` or as a number."""
    share = int(match.group(1)) if isinstance(value, str) and (match := _PERCENT.fullmatch(value)) else value
    wrong = f"{str(value)[:40]!r} is not a percentage between 0% and 100%"
    if isinstance(share, bool) or not isinstance(share, int | float):
        raise FieldError("TypeError", wrong)
    if not 0 <= share <= 100:
        raise FieldError("OutOfRange", wrong)
    return float(share)


def percent_of(value: int | str, total: int) -> int:
    """Boards that a budget allows of `total`: a percentage rounds down, but to one at least when there are any."""
    if isinstance(value, int):
        return value
    return max(1, total * int(value.rstrip("%")) // 100) if total and value != "0%" else 0


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    Field(json_schema_extra={"x-litefleet-format": "duration"}, description="10m, 1h30m, 45s, or seconds."),
]
"""Seconds inside; written back as a number of seconds."""
CountOrPercent = Annotated[int | str, BeforeValidator(parse_count_or_percent)]
Percent = Annotated[float, BeforeValidator(parse_percent), Field(json_schema_extra={"x-litefleet-format": "percent"})]
