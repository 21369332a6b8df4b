"""Ages as kubectl shows them: `45s`, `3m20s`, `5h`, `12d`. The rules are apimachinery's `duration.HumanDuration`."""

from datetime import datetime

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400


def human_duration(seconds: float) -> str:
    """At most two units, the second one only while it still matters."""
    total = int(seconds)
    if total < -1:
        return "<invalid>"
    if total < 0:
        return "0s"
    for limit, unit, part in (
        (2 * _MINUTE, 1, 0),
        (10 * _MINUTE, _MINUTE, 1),
        (3 * _HOUR, _MINUTE, 0),
        (8 * _HOUR, _HOUR, _MINUTE),
        (2 * _DAY, _HOUR, 0),
        (8 * _DAY, _DAY, _HOUR),
        (2 * _YEAR, _DAY, 0),
        (8 * _YEAR, _YEAR, _DAY),
    ):
        if total < limit:
            return _with_part(total, unit, part)
    return f"{total // _YEAR}y"


_NAMES = {1: "s", _MINUTE: "m", _HOUR: "h", _DAY: "d", _YEAR: "y"}


def _with_part(total: int, unit: int, part: int) -> str:
    whole, rest = divmod(total, unit)
    smaller = rest // part if part else 0
    return f"{whole}{_NAMES[unit]}" + (f"{smaller}{_NAMES[part]}" if smaller else "")


def age_of(timestamp: object, now: datetime) -> str:
    """The time since an RFC 3339 timestamp."""
    if not isinstance(timestamp, str) or not timestamp:
        return "<unknown>"
    try:
        since = datetime.fromisoformat(timestamp)
        return human_duration((now - since).total_seconds())
    except (ValueError, TypeError):
        return "<unknown>"
