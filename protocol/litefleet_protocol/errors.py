"""The one root of errors that a peer's bytes can cause."""

from litefleet_protocol.codes import Code


class ProtocolError(ValueError):
    """A message, a name, a topic or an envelope that this side can't accept.

    Attributes:
        code: the stable code, the same on the wire, over HTTP and on the command line.
        field: path of the offending field, empty when the whole is meant.
        hint: what to do about it, empty when the message says it already.
    """

    def __init__(self, code: Code, message: str, *, field: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.hint = hint
