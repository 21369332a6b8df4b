"""The agent's one root of errors. Kinds that need fields of their own stand beside the code that raises them."""

from litefleet_protocol.codes import Code


class AgentError(Exception):
    """Something this board can't do, in words for a person and with a stable code for the controller.

    Attributes:
        code: as reported on the wire and printed on the command line.
        field: path of the offending setting, empty when the whole is meant.
        hint: what to do about it, empty when the message says it already.
    """

    def __init__(self, code: Code, message: str, *, field: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.hint = hint


def one_line(error: Exception) -> str:
    """An error as the single line that the command line prints: code, place, message, hint."""
    code = getattr(error, "code", Code.INTERNAL)
    field = getattr(error, "field", "")
    hint = getattr(error, "hint", "")
    words = " ".join(str(error).split())
    return f"{code}: {f'{field}: ' if field else ''}{words}{f' ({hint})' if hint else ''}"
