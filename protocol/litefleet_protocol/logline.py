"""A log entry as a line for people, the same on the board's stderr and in `litefleet logs`.

Values come from boards and, through error messages, from strangers: what a terminal would act on is escaped.
"""

from collections.abc import Mapping

from litefleet_protocol.messages import LogValue

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}


def text(event: str, fields: Mapping[str, LogValue]) -> str:
    """`event key=value other="two words"`, on one line, printable throughout."""
    return " ".join([_word(event), *(f"{_word(key)}={_shown(value)}" for key, value in fields.items())])


def _shown(value: LogValue) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case float():
            return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.3f}"
        case int():
            return str(value)
        case _:
            return _word(value)


def _word(value: str) -> str:
    """Bare when that is unmistakable, else quoted as JSON has it."""
    if value and value.isprintable() and not any(c in value for c in ' "\\='):
        return value
    return f'"{"".join(_ESCAPES.get(c) or _safe(c) for c in value)}"'


def _safe(character: str) -> str:
    return character if character.isprintable() else f"\\u{ord(character):04x}"
