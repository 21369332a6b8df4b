"""Names and digests as they appear in topics, certificates and files.

A device's name is its certificate's common name, its MQTT client id and a topic level at once, so the alphabet is the
intersection of what those three treat literally: no `/`, `+`, `#`, no upper case, no look-alike letters.
"""

import re

from litefleet_protocol.codes import Code
from litefleet_protocol.errors import ProtocolError

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


def is_name(text: str) -> bool:
    """Whether `text` can name a device, a namespace or a slot: an RFC 1123 label, 1 to 63 characters."""
    return _NAME.fullmatch(text) is not None


def check_name(text: str, field: str) -> str:
    """Return `text` when it is a valid name.

    Raises:
        ProtocolError: `InvalidName`, with `field` as the place.
    """
    if not is_name(text):
        shown = text if len(text) <= 80 else f"{text[:77]}..."
        raise ProtocolError(
            Code.INVALID_NAME,
            f"{shown!r} is not a name: use 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit",
            field=field,
        )
    return text


def is_digest(text: str) -> bool:
    """Whether `text` is a SHA-256 digest in its full form, `sha256:` and 64 lower-case hex digits."""
    return _DIGEST.fullmatch(text) is not None


def check_digest(text: str, field: str) -> str:
    """Return `text` when it is a digest.

    Raises:
        ProtocolError: `BadMessage`, with `field` as the place.
    """
    if not is_digest(text):
        raise ProtocolError(Code.BAD_MESSAGE, "not a sha256 digest (sha256: and 64 hex digits)", field=field)
    return text


def digest_hex(digest: str) -> str:
    """The 64 hex digits of a digest, for topic levels and file names."""
    return check_digest(digest, "digest").removeprefix("sha256:")
