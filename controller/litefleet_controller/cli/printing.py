"""How things look on a terminal: aligned columns as kubectl has them, ages, sizes, and colour only where it is seen."""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

_COLOURS = {
    "Healthy": "32", "Ready": "32", "Updated": "32", "Complete": "32", "Online": "32", "Successful": "32", "done": "32",
    "Available": "32", "DeviceSide": "36", "Missing": "33",
    "Progressing": "36", "Converting": "36", "Running": "36", "current": "36",
    "Paused": "33", "Inconclusive": "33", "Offline": "33", "PartlyRefused": "33", "Waiting": "33", "Pending": "33",
    "Degraded": "31", "Failed": "31", "Refused": "31", "Aborted": "31", "RollingBack": "31", "Warning": "31",
}  # fmt: skip


class Output(Protocol):
    """Where text goes."""

    def write(self, text: str, /) -> Any:
        """Write."""
        ...

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        ...


def columns(headers: Sequence[str], rows: Iterable[Sequence[object]], *, with_headers: bool = True) -> list[str]:
    """Lines with cells three blanks apart, as kubectl's."""
    cells = [[_cell(c) for c in row] for row in rows]
    table = [[h.upper() for h in headers], *cells] if with_headers else cells
    widths = [max((len(row[i]) for row in table), default=0) for i in range(len(headers))]
    return ["   ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in table]


def coloured(line: str, out: Output | None = None) -> str:
    """`line` with words that tell a state in colour, when `out` is a terminal."""
    if not (out or sys.stdout).isatty():
        return line
    return " ".join(
        f"\x1b[{_COLOURS[word.strip(',:()')]}m{word}\x1b[0m" if word.strip(",:()") in _COLOURS else word
        for word in line.split(" ")
    )


def show(lines: Iterable[str]) -> None:
    """Print lines."""
    for line in lines:
        print(coloured(line), flush=True)


def note(text: str) -> None:
    """Something beside the answer, so that the answer can be piped."""
    print(text, file=sys.stderr)


def age(timestamp: str | None, now: datetime | None = None) -> str:
    """`90s`, `12m`, `3h`, `5d` since an RFC 3339 time."""
    if not timestamp:
        return "<none>"
    try:
        then = datetime.fromisoformat(timestamp)
    except ValueError:
        return "<unknown>"
    seconds = int(((now or datetime.now(UTC)) - then).total_seconds())
    for unit, size, least in (("d", 86400, 2 * 86400), ("h", 3600, 2 * 3600), ("m", 60, 120)):
        if seconds >= least:
            return f"{seconds // size}{unit}"
    return f"{max(0, seconds)}s"


def size(n: int | None) -> str:
    """Bytes for people."""
    if n is None:
        return "-"
    for unit, step in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if n >= step:
            return f"{n / step:.1f} {unit}"
    return f"{n} B"


def number(value: float | None, digits: int = 2) -> str:
    """A number that may be absent."""
    return "-" if value is None else f"{value:.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share in [0, 1] as percent, that may be absent."""
    return "-" if value is None else f"{100 * value:.{digits}f}%"


def as_yaml(value: Any) -> str:
    """YAML in the order in which it came."""
    import yaml  # late: 30 ms that most commands don't need

    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)
    return text.rstrip("\n")


def _cell(value: object) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, list):
        return ",".join(str(v) for v in value)
    # A message may have line ends, a table may not.
    return " ".join(str(value).split()) if isinstance(value, str) else str(value)
