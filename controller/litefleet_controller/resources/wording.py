"""What is wrong with a name, a label or a key, in the sentences of a Kubernetes API server.

`names` decides for models and other doors; admission of metadata speaks through these, because clients show them.
"""

import re

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", re.ASCII)
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]", re.ASCII)
_KEY = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    f"(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_QUALIFIED.pattern}')"
)


def subdomain_faults(text: str) -> list[str]:
    """Of an RFC 1123 subdomain."""
    faults = ["must be no more than 253 characters"] if len(text) > 253 else []
    if not _SUBDOMAIN.fullmatch(text):
        faults.append(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
            "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
            f"'{_SUBDOMAIN.pattern}')"
        )
    return faults


def label_faults(text: str) -> list[str]:
    """Of an RFC 1123 label."""
    faults = ["must be no more than 63 characters"] if len(text) > 63 else []
    if "." in text and _SUBDOMAIN.fullmatch(text):
        faults.append("must not contain dots")
    elif not _LABEL.fullmatch(text):
        faults.append(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and "
            "end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
            f"'{_LABEL.pattern}')"
        )
    return faults


def key_faults(text: str) -> list[str]:
    """Of a label's or annotation's key, or a finalizer: `[prefix/]name`."""
    parts = text.split("/")
    if len(parts) > 2:
        return [f"a valid label key {_KEY} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]
    faults: list[str] = []
    if len(parts) == 2:
        faults = (
            [f"prefix part {f}" for f in subdomain_faults(parts[0])] if parts[0] else ["prefix part must be non-empty"]
        )
    name = parts[-1]
    if not name:
        return [*faults, "name part must be non-empty"]
    if len(name) > 63:
        faults.append("name part must be no more than 63 bytes")
    if not _QUALIFIED.fullmatch(name):
        faults.append(f"name part {_KEY}")
    return faults


def value_faults(text: str) -> list[str]:
    """Of a label's value."""
    faults = ["must be no more than 63 bytes"] if len(text) > 63 else []
    if text and not _QUALIFIED.fullmatch(text):
        faults.append(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
            "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used "
            f"for validation is '({_QUALIFIED.pattern})?')"
        )
    return faults
