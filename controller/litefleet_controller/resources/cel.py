"""`x-kubernetes-validations`: rules in the Common Expression Language over `self` and, on an update, `oldSelf`.

The interpreter is the maintained one in Rust: a compiled rule takes some microseconds, where the one in Python takes
a hundred times as long, and rules run on every write. It knows no costs, so they are bounded here: what an evaluation
could touch is estimated before it starts, and an object has a budget for all of them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from litefleet_controller.resources.causes import Cause, Reason
from litefleet_controller.resources.values import ABSENT, shown

if TYPE_CHECKING:
    import cel

    from litefleet_controller.resources.schema import Schema

BUDGET = 1_000_000
"""Steps for all rules of one object: some tenths of a second at worst."""
_LOOPS = re.compile(r"\.(all|exists|exists_one|map|filter)\s*\(")
_BINDING = re.compile(r"\.(optMap|optFlatMap)\s*\(")
"""Macros that the interpreter lets compile and can't run."""
_KEYWORDS = frozenset(
    (
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function"),
        *("if", "import", "let", "loop", "package", "namespace", "return"),
    )
)
"""Reserved in CEL: a field of such a name is `__name__` in a rule."""
_SYMBOLS = (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__"))
_REASONS: Mapping[str, tuple[Reason, str]] = {
    "FieldValueInvalid": ("FieldValueInvalid", "Invalid value: "),
    "FieldValueForbidden": ("FieldValueForbidden", "Forbidden: "),
    "FieldValueRequired": ("FieldValueRequired", "Required value: "),
    "FieldValueDuplicate": ("FieldValueDuplicate", "Duplicate value: "),
}


class RuleError(ValueError):
    """The rule isn't CEL, or asks for what isn't served."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One validation rule, compiled."""

    text: str
    program: "cel.Program"
    message: str
    message_program: "cel.Program | None"
    reason: Literal["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"]
    field_path: str
    transition: bool
    """It speaks of `oldSelf`, so it runs on updates only, unless that is optional."""
    optional_old: bool
    """`oldSelf` is an optional value, without one when there is no old one: the rule runs on creates too."""
    depth: int
    """Loops inside loops: the exponent of its cost."""


@dataclass(slots=True)
class Cost:
    """What is left of an object's budget."""

    left: int = field(default=BUDGET)


def compile_rule(document: Mapping[str, Any]) -> Rule:
    """A member of `x-kubernetes-validations`.

    Raises:
        RuleError: it doesn't compile, or wants what isn't served (`.?field`, optMap, optFlatMap).
    """
    text = str(document.get("rule", ""))
    binding = _BINDING.search(text)
    if binding is not None:
        raise RuleError(f"rule {text!r}: {binding.group(1)} isn't served: use hasValue(), value() and orValue()")
    reason = document.get("reason", "FieldValueInvalid")
    if reason not in _REASONS:
        raise RuleError(f"rule {text!r}: reason {reason!r} is none of {', '.join(_REASONS)}")
    expression = document.get("messageExpression")
    return Rule(
        text=text,
        program=_compiled(text),
        message=str(document.get("message") or f"failed rule: {text.strip()}"),
        message_program=_compiled(expression) if expression else None,
        reason=cast("Any", reason),
        field_path=str(document.get("fieldPath", "")),
        transition=re.search(r"\boldSelf\b", text) is not None,
        optional_old=document.get("optionalOldSelf") is True,
        depth=max(1, _depth(text)),
    )


def violations(schema: "Schema", value: Any, old: Any, path: str, cost: Cost) -> list[Cause]:
    """What the node's own rules say of `value`."""
    if not schema.rules:
        return []
    causes: list[Cause] = []
    plain = {"self": _bound(schema, value)}
    size = _size(value)
    if old is not ABSENT:
        plain["oldSelf"] = _bound(schema, old)
        size += _size(old)
    for rule in schema.rules:
        if rule.transition and old is ABSENT and not rule.optional_old:
            continue
        context = _with_optional(plain) if rule.optional_old else plain
        cost.left -= size**rule.depth
        if cost.left < 0:
            message = f"Invalid value: its validation rules cost more than {BUDGET} steps: make the object smaller"
            return [*causes, Cause(path, "FieldValueInvalid", message, "TooLarge")]
        causes.extend(_judged(rule, context, value, path))
    return causes


def _judged(rule: Rule, context: dict[str, Any], value: Any, path: str) -> list[Cause]:
    try:
        if rule.program.execute(context) is True:
            return []
        message = _message(rule, context)
    except (ValueError, TypeError, RuntimeError, KeyError, OverflowError) as e:
        message = f"rule {rule.text.strip()!r} can't be evaluated: {e}"
    reason, prefix = _REASONS[rule.reason]
    if reason == "FieldValueDuplicate":
        prefix = f"Duplicate value: {shown(value)}: "
    return [Cause(path + rule.field_path, reason, prefix + message, "Invalid")]


def _message(rule: Rule, context: dict[str, Any]) -> str:
    """`messageExpression` when it gives a sentence, else `message`."""
    if rule.message_program is None:
        return rule.message
    try:
        said = rule.message_program.execute(context)
    except (ValueError, TypeError, RuntimeError, KeyError, OverflowError):
        return rule.message
    return said if isinstance(said, str) and said.strip() and "\n" not in said else rule.message


def _with_optional(context: dict[str, Any]) -> dict[str, Any]:
    """`context` with `oldSelf` as a value of CEL's optional type."""
    import cel

    optional = cel.OptionalValue.of(context["oldSelf"]) if "oldSelf" in context else cel.OptionalValue.none()
    return {**context, "oldSelf": optional}


def _compiled(text: str) -> "cel.Program":
    import cel  # half a second, which only those pay whose kinds have rules

    try:
        return cel.compile(text)
    except (ValueError, TypeError, RuntimeError) as e:
        raise RuleError(f"{text!r} is no CEL: {e}") from e


def _bound(schema: "Schema", value: Any) -> Any:
    """`value` as CEL sees it: numbers of a number field are doubles, keys that aren't identifiers are escaped."""
    if isinstance(value, dict):
        bound = {}
        for name, member in value.items():
            inner = schema.properties.get(name)
            if inner is not None:
                bound[_escaped(name)] = _bound(inner, member)
            else:
                bound[name] = _bound(schema.additional, member) if schema.additional is not None else member
        return bound
    if isinstance(value, list) and schema.items is not None:
        return [_bound(schema.items, item) for item in value]
    if schema.type == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def _escaped(name: str) -> str:
    if name in _KEYWORDS:
        return f"__{name}__"
    for symbol, escape in _SYMBOLS:
        name = name.replace(symbol, escape)
    return name


def _size(value: Any) -> int:
    """Values in it, and its text by the hundred: what a rule could look at."""
    if isinstance(value, dict):
        return 1 + sum(_size(v) for v in value.values())
    if isinstance(value, list):
        return 1 + sum(_size(v) for v in value)
    return 1 + len(value) // 100 if isinstance(value, str) else 1


def _depth(text: str) -> int:
    """How deep loops stand inside loops. Literals are blanked first: their parentheses aren't the rule's."""
    bare = re.sub(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", lambda m: " " * len(m.group()), text)
    opened: list[bool] = []
    deepest = 0
    loops = {match.end() - 1 for match in _LOOPS.finditer(bare)}
    for position, letter in enumerate(bare):
        if letter == "(":
            opened.append(position in loops)
            deepest = max(deepest, sum(opened))
        elif letter == ")" and opened:
            opened.pop()
    return deepest
