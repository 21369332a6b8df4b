"""Names and labels of Kubernetes objects (RFC 1123, and the label syntax of the Kubernetes API conventions).

The checks raise FieldError, a ValueError with a sentence and the code; pydantic adds the place.
"""

import re

from litefleet_controller.resources.causes import FieldError

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.ASCII)
_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.ASCII)
_QUALIFIED = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)


def check_label(text: str) -> str:
    """An RFC 1123 label of at most 63 characters."""
    if len(text) > 63 or not _LABEL.fullmatch(text):
        raise FieldError(
            "InvalidName",
            f"{_short(text)} is not a valid name: at most 63 of a-z, 0-9 and '-', "
            "beginning and ending with a letter or digit",
        )
    return text


def check_name(text: str) -> str:
    """An RFC 1123 subdomain of at most 253 characters."""
    if len(text) > 253 or not _SUBDOMAIN.fullmatch(text):
        raise FieldError(
            "InvalidName",
            f"{_short(text)} is not a valid name: at most 253 of a-z, 0-9, '-' and '.', "
            "beginning and ending with a letter or digit",
        )
    return text


def check_label_key(text: str) -> str:
    """`[prefix/]name`, the prefix a subdomain, the name at most 63 characters."""
    prefix, slash, name = text.rpartition("/")
    if slash:
        check_name(prefix)
    if len(name) > 63 or not _QUALIFIED.fullmatch(name):
        raise FieldError(
            "InvalidName",
            f"{_short(text)} is not a valid label key: [prefix/]name, the name at most 63 of A-Z a-z 0-9 . _ -",
        )
    return text


def check_label_value(text: str) -> str:
    """Empty, or at most 63 characters of the label alphabet."""
    if text and (len(text) > 63 or not _QUALIFIED.fullmatch(text)):
        raise FieldError("InvalidName", f"{_short(text)} is not a valid label value: at most 63 of A-Z a-z 0-9 . _ -")
    return text


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
