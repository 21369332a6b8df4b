"""Stable codes: what a refusal or a failure is called on the wire, in a Status object, on a device.

A code is either *rejected* (the same attempt would never work: too large, unsupported operator) or *failed* (it may
work later), after AWS IoT Jobs, which splits REJECTED from FAILED. Retry policy hangs on nothing else.
"""

from enum import StrEnum


class Code(StrEnum):
    """Every code that crosses the wire. Append only: a peer of another version reads these."""

    # Names, messages, envelopes
    INVALID_NAME = "InvalidName"
    BAD_MESSAGE = "BadMessage"
    UNSUPPORTED_VERSION = "UnsupportedVersion"
    TOO_LARGE = "TooLarge"
    BAD_SIGNATURE = "BadSignature"
    # Desired state
    STALE_EPOCH = "StaleEpoch"
    WRONG_DEVICE = "WrongDevice"
    WRONG_CLASS = "WrongClass"
    # Artifacts
    EMPTY = "Empty"
    FORMAT_MISMATCH = "FormatMismatch"
    DIGEST_MISMATCH = "DigestMismatch"
    BAD_CHUNK = "BadChunk"
    MODEL_CRASHED = "ModelCrashed"
    BAD_SHAPE = "BadShape"
    UNSUPPORTED_OP = "UnsupportedOp"
    SIGNATURE_CHANGED = "SignatureChanged"
    BAD_OUTPUT = "BadOutput"
    GOLDEN_MISMATCH = "GoldenMismatch"
    TIMEOUT = "Timeout"
    MEMORY_LIMIT = "MemoryLimit"
    TOO_SLOW = "TooSlow"
    ERROR_RATE = "ErrorRate"
    DISK_FULL = "DiskFull"
    MARKED_BAD = "MarkedBad"
    # Engines, and what they compute on
    RUNTIME_MISSING = "RuntimeMissing"
    RUNTIME_BROKEN = "RuntimeBroken"
    ACCELERATOR_MISSING = "AcceleratorMissing"
    ACCELERATOR_FAILED = "AcceleratorFailed"
    # Enrollment
    TOKEN_INVALID = "TokenInvalid"  # noqa: S105 - a code, not a secret
    TOKEN_USED = "TokenUsed"  # noqa: S105 - a code, not a secret
    TOKEN_EXPIRED = "TokenExpired"  # noqa: S105 - a code, not a secret
    BAD_CSR = "BadCsr"
    NOT_FOUND = "NotFound"
    ALREADY_EXISTS = "AlreadyExists"
    # Telemetry
    BAD_SAMPLE = "BadSample"
    CARDINALITY_LIMIT = "CardinalityLimit"
    # Anything else that went wrong on this side
    INTERNAL = "Internal"


REJECTED: frozenset[Code] = frozenset(
    {
        Code.INVALID_NAME,
        Code.BAD_MESSAGE,
        Code.UNSUPPORTED_VERSION,
        Code.TOO_LARGE,
        Code.BAD_SIGNATURE,
        Code.STALE_EPOCH,
        Code.WRONG_DEVICE,
        Code.WRONG_CLASS,
        Code.EMPTY,
        Code.FORMAT_MISMATCH,
        Code.MODEL_CRASHED,
        Code.BAD_SHAPE,
        Code.UNSUPPORTED_OP,
        Code.SIGNATURE_CHANGED,
        Code.BAD_OUTPUT,
        Code.GOLDEN_MISMATCH,
        Code.MARKED_BAD,
        Code.RUNTIME_MISSING,
        Code.RUNTIME_BROKEN,
        Code.ACCELERATOR_MISSING,
        Code.TOKEN_INVALID,
        Code.TOKEN_USED,
        Code.TOKEN_EXPIRED,
        Code.BAD_CSR,
        Code.NOT_FOUND,
        Code.ALREADY_EXISTS,
    }
)
"""Codes for which trying the same thing again would never work."""


def is_rejected(code: str) -> bool:
    """Whether `code` is final. A code that this version doesn't know counts as failed, hence as retryable."""
    return code in REJECTED
