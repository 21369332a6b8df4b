r"""JSON paths of printer columns: the subset `.a.b`, `.a[0].b`, `.a\.b` and `.a[?(@.type=="X")].b`."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

_STEP = re.compile(r"""\.((?:[^.\[\\]|\\.)+)|\[(\d+)\]|\[\?\(@\.([A-Za-z0-9_]+)=="([^"]*)"\)\]""")
Step = str | int | tuple[str, str]
"""A member, an index, or the first element whose member has a value."""


@lru_cache(maxsize=512)
def parse_path(path: str) -> tuple[Step, ...]:
    """The path's steps.

    Raises:
        ValueError: it is outside the subset.
    """
    steps: list[Step] = []
    at = 0
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            raise ValueError(f'{path!r} is not a path of the form .a.b, .a[0].b or .a[?(@.type=="X")].b')
        member, index, name, value = match.groups()
        if member is not None:
            steps.append(re.sub(r"\\(.)", r"\1", member))
        elif index is not None:
            steps.append(int(index))
        else:
            steps.append((name, value))
        at = match.end()
    return tuple(steps)


def look_up(value: Any, path: str) -> Any:
    """What `path` leads to, None when it leads nowhere."""
    for step in parse_path(path):
        value = _follow(value, step)
        if value is None:
            return None
    return value


def _follow(value: Any, step: Step) -> Any:
    match step:
        case str():
            return value.get(step) if isinstance(value, Mapping) else None
        case int():
            return value[step] if isinstance(value, list) and step < len(value) else None
        case (name, wanted):
            items = value if isinstance(value, list) else []
            return next((i for i in items if isinstance(i, Mapping) and i.get(name) == wanted), None)
