"""What ends a command early: one error, with a stable code and a hint, shown in one place (`cli.main`)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldCause:
    """One thing wrong with one field."""

    field: str
    message: str
    code: str = ""

    def line(self) -> str:
        """As shown to a person."""
        where = f"{self.field}: " if self.field else ""
        return f"{where}{self.message}" + (f" ({self.code})" if self.code else "")


class CliError(Exception):
    """A refusal, by this program or by the server.

    Attributes:
        code: stable code.
        hint: what to do, empty when the message says it.
        causes: the fields that are wrong, where there are any.
        http_status: the server's answer, None when it wasn't one.
    """

    def __init__(
        self,
        message: str,
        code: str,
        *,
        hint: str = "",
        causes: tuple[FieldCause, ...] = (),
        http_status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint
        self.causes = causes
        self.http_status = http_status

    def text(self) -> str:
        """`message (Code): hint`, and a line for each cause that the message doesn't name."""
        message = str(self)
        told = [c for c in self.causes if c.message not in message or (c.field and c.field not in message)]
        codes = dict.fromkeys(c.code for c in self.causes if c.code)
        shown = ", ".join(codes) if codes and not told else self.code
        first = f"{message} ({shown})" + (f"; {self.hint}" if self.hint else "")
        return "\n".join([first, *(f"  {c.line()}" for c in told)])


class UsageError(CliError):
    """Arguments that contradict each other; exit code 2."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "Usage")
