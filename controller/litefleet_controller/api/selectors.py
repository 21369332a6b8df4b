"""Label and field selectors as they stand in a query string.

The grammar is apimachinery's (`labels.Parse`, `fields.ParseSelector`): `a=b`, `a==b`, `a!=b`, `a in (b,c)`,
`a notin (b)`, `a`, `!a`, joined with commas.
"""

import re
from collections.abc import Callable, Iterator

from litefleet_controller.api.errors import ApiError, StatusCause, bad_request
from litefleet_controller.resources.names import check_label_key, check_label_value
from litefleet_controller.store.interface import FieldRequirement, LabelRequirement

_TOKEN = re.compile(r"\s*(==|!=|[=!(),]|[^\s=!(),]+)")
_SYMBOLS = frozenset({"==", "!=", "=", "!", "(", ")", ","})


def parse_labels(text: str) -> tuple[LabelRequirement, ...]:
    """The requirements of a labelSelector, all of which must hold.

    Raises:
        ApiError: 400, with what was found where something else was expected.
    """
    tokens = _Tokens(text)
    if tokens.peek() == "":
        return ()
    found = [_requirement(tokens)]
    while (mark := tokens.take()) != "":
        if mark != ",":
            raise _unexpected(mark, "',' or end of the selector")
        found.append(_requirement(tokens))
    return tuple(found)


class _Tokens:
    """A look-ahead of one over the selector's tokens; the end is an empty one."""

    def __init__(self, text: str) -> None:
        self._rest: Iterator[str] = (m.group(1) for m in _TOKEN.finditer(text.strip()))
        self._next: str | None = None

    def peek(self) -> str:
        if self._next is None:
            self._next = next(self._rest, "")
        return self._next

    def take(self) -> str:
        token = self.peek()
        self._next = None
        return token


def _requirement(tokens: _Tokens) -> LabelRequirement:
    if tokens.peek() == "!":
        tokens.take()
        return LabelRequirement(_key(tokens), "DoesNotExist")
    key = _key(tokens)
    match tokens.peek():
        case "" | ",":
            return LabelRequirement(key, "Exists")
        case "=" | "==":
            tokens.take()
            return LabelRequirement(key, "In", (_value(tokens),))
        case "!=":
            tokens.take()
            return LabelRequirement(key, "NotIn", (_value(tokens),))
        case "in":
            tokens.take()
            return LabelRequirement(key, "In", _values(tokens))
        case "notin":
            tokens.take()
            return LabelRequirement(key, "NotIn", _values(tokens))
        case other:
            raise _unexpected(other, ", expected: in, notin, =, ==, !=, gt, lt")


def _key(tokens: _Tokens) -> str:
    token = tokens.take()
    if token == "" or token in _SYMBOLS:
        raise _unexpected(token, ", expected: a label's key")
    return _checked(token, check_label_key)


def _value(tokens: _Tokens) -> str:
    """What follows `=`; nothing there means the empty value."""
    if tokens.peek() in ("", ","):
        return ""
    token = tokens.take()
    if token in _SYMBOLS:
        raise _unexpected(token, ", expected: a label's value")
    return _checked(token, check_label_value)


def _values(tokens: _Tokens) -> tuple[str, ...]:
    if (mark := tokens.take()) != "(":
        raise _unexpected(mark, " expected: '('")
    values: list[str] = []
    expect_value = True
    while (mark := tokens.take()) != ")":
        if mark == ",":
            if expect_value:
                values.append("")
            expect_value = True
        elif mark == "" or mark in _SYMBOLS or not expect_value:
            raise _unexpected(mark, ", expected: ',' or ')'")
        else:
            values.append(_checked(mark, check_label_value))
            expect_value = False
    if expect_value:
        values.append("")
    return tuple(values)


def _checked(text: str, rule: Callable[[str], str]) -> str:
    try:
        return rule(text)
    except ValueError as e:
        raise bad_request(f"unable to parse requirement: {e}") from e


def _unexpected(found: str, expected: str) -> ApiError:
    return bad_request(f"unable to parse requirement: found '{found[:60]}'{expected}")


_FIELD = re.compile(r"^([^=!,]+)(==|!=|=)((?:[^\\,=!]|\\.)*)$", re.DOTALL)


def parse_fields(text: str, supported: frozenset[str]) -> tuple[FieldRequirement, ...]:
    r"""The requirements of a fieldSelector. A backslash escapes `,`, `=` and itself in a value.

    Raises:
        ApiError: 400, naming the term that isn't understood or the field that can't be selected by.
    """
    found = []
    for term in re.split(r"(?<!\\),", text):
        if not term:
            continue
        match = _FIELD.match(term)
        if match is None:
            raise bad_request(f"invalid selector: '{text[:120]}'; can't understand '{term[:60]}'")
        path, operator, value = match.groups()
        if path not in supported:
            hint = f"supported: {', '.join(sorted(supported))}"
            cause = StatusCause("FieldValueNotSupported", hint, path[:120], "FieldNotSelectable")
            raise bad_request(f"field label not supported: {path[:120]}", [cause])
        found.append(FieldRequirement(path, operator != "!=", re.sub(r"\\(.)", r"\1", value)))
    return tuple(found)
