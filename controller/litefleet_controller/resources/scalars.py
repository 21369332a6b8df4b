"""Plain YAML scalars as Kubernetes reads them: YAML 1.1's booleans and numbers, but no dates and no base 60.

`2026-01-02` and `1:30` stay text: JSON has no dates, and nobody who writes a time means ninety.
"""

import math
from typing import Any

import yaml

_PREFIX = "tag:yaml.org,2002:"
_CONSTRUCTED = ("int", "float", "bool", "null")
_TEXT = ("str", "timestamp", "merge", "value")
_RESOLVER: Any = yaml.resolver.Resolver()
_CONSTRUCTOR: Any = yaml.constructor.SafeConstructor()


class ScalarError(ValueError):
    """A scalar that has no plain value. `tag` is what forbids it, when that is the reason; `code` is the stable one."""

    def __init__(self, message: str, tag: str | None = None, *, code: str = "TypeError") -> None:
        super().__init__(message)
        self.tag = tag
        self.code = code


def plain_scalar(text: str, tag: str | None, implicit: tuple[bool, bool]) -> Any:
    """The value of a scalar event: str, int, float, bool or None.

    Raises:
        ScalarError: a tag that isn't a plain value's, a text that isn't of its tag's type, or NaN and infinity.
    """
    explicit = tag not in (None, "!")
    if not explicit and not implicit[0]:
        return text  # It is quoted.
    name = str(tag if explicit else _RESOLVER.resolve(yaml.ScalarNode, text, implicit)).removeprefix(_PREFIX)
    if name in _TEXT or (not explicit and ":" in text):
        return text
    if name not in _CONSTRUCTED:
        raise ScalarError(f"the tag {tag} isn't allowed", tag)
    try:
        node = yaml.ScalarNode(f"{_PREFIX}{name}", text)
        value = getattr(_CONSTRUCTOR, f"construct_yaml_{name}")(node)
    except (ValueError, KeyError) as e:
        raise ScalarError(f"{text[:40]!r} can't be read as {name}: {str(e).splitlines()[0]}") from e
    if isinstance(value, float) and not math.isfinite(value):
        raise ScalarError(f"{text[:40]} is not a finite number", code="OutOfRange")
    return value
