"""Sets of fields, kept in the very form in which managedFields stores them (FieldsV1).

A set is a tree of JSON objects. A step is `f:name` (a field), `k:{"type":"Ready"}` (an item of a keyed list),
`v:"int8"` (a member of a set) or `i:0`. A step that leads to `{}` is in the set; one that leads further is in it when
it also has `.`. Nothing is parsed or written, so that an update costs no more than the fields it touches. Sets are
never changed: every function makes a new one, and shares with its arguments what is the same.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

Fields = Mapping[str, Any]
Path = tuple[str, ...]
SELF = "."
_MEMBER: Fields = {SELF: {}}
NOTHING: Fields = {}


class FieldsError(ValueError):
    """This is no FieldsV1."""


def field_step(name: str) -> str:
    """The step to a field or to a map's value."""
    return f"f:{name}"


def key_step(keys: Mapping[str, Any]) -> str:
    """The step to the item of a keyed list."""
    return f"k:{_json(dict(sorted(keys.items())))}"


def value_step(value: Any) -> str:
    """The step to a member of a list of type set."""
    return f"v:{_json(value)}"


def union(one: Fields, other: Fields) -> Fields:
    """What is in either."""
    if not one or not other:
        return one or other
    result = dict(one)
    for step, node in other.items():
        mine = result.get(step)
        if mine is None:
            result[step] = node
        elif step != SELF:
            result[step] = compact(union(mine or _MEMBER, node or _MEMBER))
    return result


def intersection(one: Fields, other: Fields) -> Fields:
    """What is in both."""
    result: dict[str, Any] = {}
    for step, node in one.items():
        if step not in other:
            continue
        if step == SELF:
            result[SELF] = {}
            continue
        inner = intersection(node or _MEMBER, other[step] or _MEMBER)
        if inner:
            result[step] = compact(inner)
    return result


def difference(one: Fields, other: Fields) -> Fields:
    """What is in `one` alone."""
    if not other:
        return one
    result: dict[str, Any] = {}
    for step, node in one.items():
        if step not in other:
            result[step] = node
        elif step != SELF:
            inner = difference(node or _MEMBER, other[step] or _MEMBER)
            if inner:
                result[step] = compact(inner)
    return result


def compact(node: Fields) -> Fields:
    """A node with an explicit `.` in the form that FieldsV1 has for it."""
    return NOTHING if len(node) == 1 and SELF in node else node


def compacted(node: Fields) -> Fields:
    """A tree in which every member has its `.`, in FieldsV1's form."""
    return {step: compact(compacted(inner)) if step != SELF else NOTHING for step, inner in node.items()}


def is_member(node: Fields) -> bool:
    """Whether the step that leads to `node` is itself in the set."""
    return not node or SELF in node


def within(node: Fields) -> Fields:
    """The set below a step."""
    return {step: inner for step, inner in node.items() if step != SELF}


def paths(fields: Fields) -> Iterator[Path]:
    """Every path in the set, in the order of Kubernetes' messages: what is here before what is further down."""
    steps = sorted((s for s in fields if s != SELF), key=_order)
    yield from ((step,) for step in steps if is_member(fields[step]))
    for step in steps:
        yield from ((step, *rest) for rest in paths(fields[step]))


def leaves(fields: Fields) -> Iterator[Path]:
    """The paths that lead no further."""
    return (path for path in paths(fields) if not within(_at(fields, path)))


def of_paths(wanted: Iterator[Path]) -> Fields:
    """The set of these paths."""
    tree: dict[str, Any] = {}
    for path in wanted:
        put(tree, path)
    return compacted(tree)


def put(tree: dict[str, Any], path: Path) -> dict[str, Any]:
    """Mark `path` in a tree under construction, whose members all have their `.`; gives the node."""
    node = tree
    for step in path:
        node = node.setdefault(step, {})
    node[SELF] = {}
    return node


def text(path: Path) -> str:
    """As conflicts name it: `.status.conditions[type="Ready"].reason`."""
    return "".join(_text(step) for step in path)


def parsed(document: Any, depth: int = 64) -> Fields:
    """FieldsV1 from a client, its steps in the form that this module writes.

    Raises:
        FieldsError: it isn't FieldsV1.
    """
    if not isinstance(document, dict) or depth == 0:
        raise FieldsError("FieldsV1 is an object of objects, nested by path")
    return {_step(step): parsed(inner, depth - 1) for step, inner in document.items()}


def _step(step: str) -> str:
    kind, colon, rest = step.partition(":")
    if step == SELF or kind == "f":
        return step
    try:
        value = json.loads(rest)
    except (ValueError, RecursionError) as e:
        raise FieldsError(f"{step[:60]!r} is no step of a path: {e}") from e
    if colon and kind == "k" and isinstance(value, dict):
        return key_step(value)
    if colon and kind in "vi" and kind:
        return f"{kind}:{_json(value)}"
    raise FieldsError(f"{step[:60]!r} is no step of a path: it begins with f:, k:, v: or i:")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _order(step: str) -> tuple[int, str]:
    return "fkvi".index(step[0]), step


def _text(step: str) -> str:
    kind, rest = step[0], step[2:]
    match kind:
        case "f":
            return f".{rest}"
        case "k":
            return "[" + ",".join(f"{k}={_json(v)}" for k, v in json.loads(rest).items()) + "]"
        case "v":
            return f"[={rest}]"
        case _:
            return f"[{rest}]"


def _at(fields: Fields, path: Path) -> Fields:
    for step in path:
        fields = fields[step]
    return fields
