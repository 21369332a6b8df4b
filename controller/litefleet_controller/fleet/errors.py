"""What the fleet refuses, in terms of what was asked. The API turns each into a Status object, by its `reason`."""

from typing import Literal

Reason = Literal["BadRequest", "Forbidden", "NotFound", "Conflict", "Invalid", "RequestEntityTooLarge"]
"""Kubernetes' words for the class of a refusal."""


class FleetError(Exception):
    """Root of what this package refuses.

    Attributes:
        reason: Kubernetes' word for the class of the refusal.
        code: litefleet's stable code, the same at every door.
        field: path of the offending field, empty when the whole is meant.
        hint: what to do about it, empty when the message says it already.
    """

    reason: Reason = "BadRequest"

    def __init__(self, code: str, message: str, *, field: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.hint = hint


class UploadRefusedError(FleetError):
    """A file that can't be a model or a data set, judged by its name and its bytes."""


class UploadTooLargeError(UploadRefusedError):
    """A file past the limit."""

    reason = "RequestEntityTooLarge"


class MissingError(FleetError):
    """Something that was named does not exist."""

    reason = "NotFound"

    def __init__(self, message: str, *, field: str = "", hint: str = "") -> None:
        super().__init__("NotFound", message, field=field, hint=hint)


class DeviceTakenError(FleetError):
    """The device's name belongs to another namespace."""

    reason = "Conflict"

    def __init__(self, device: str) -> None:
        super().__init__(
            "AlreadyExists",
            f"the name {device!r} is taken in this fleet",
            field="device",
            hint="device names are unique in a fleet; enroll the board under another name",
        )


class VerbRefusedError(FleetError):
    """A verb that can't be done to the rollout as it is."""

    reason = "Conflict"


class AmbiguousError(FleetError):
    """A name that several things have."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__("Ambiguous", message, field=field, hint="write more of it")


class BadQueryError(FleetError):
    """A parameter that can't be understood."""

    def __init__(self, field: str, message: str, *, code: str = "Invalid") -> None:
        super().__init__(code, message, field=field)
