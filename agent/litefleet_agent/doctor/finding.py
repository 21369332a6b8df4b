"""What the doctor says: one finding a line."""

from typing import Literal

from msgspec import Struct

Status = Literal["ok", "warn", "fail"]


class Finding(Struct, frozen=True):
    """One thing that was looked at. `fail`: the board can't do its work until somebody acts."""

    status: Status
    what: str
    why: str
    todo: str = ""
    """What to do about it, empty when it is well."""

    def line(self) -> str:
        """For people."""
        words = " ".join(f"{self.why}{f': {self.todo}' if self.todo else ''}".split())
        return "".join(c if c.isprintable() else "?" for c in f"{self.status:<4}  {self.what:<12}  {words}")


def ok(what: str, why: str) -> Finding:
    """All is well."""
    return Finding("ok", what, why)


def warn(what: str, why: str, todo: str) -> Finding:
    """Something to know of; the board works."""
    return Finding("warn", what, why, todo)


def fail(what: str, why: str, todo: str) -> Finding:
    """Something that keeps the board from its work."""
    return Finding("fail", what, why, todo)
