"""Checks of an object's metadata, the same for every kind. Part of admission."""

from collections.abc import Callable, Iterator
from typing import Any

from litefleet_controller.resources.causes import Cause
from litefleet_controller.resources.values import shown
from litefleet_controller.resources.wording import key_faults, label_faults, subdomain_faults, value_faults

MAX_ANNOTATION_BYTES = 256 * 1024
"""Keys and values together, as in Kubernetes."""
_OWNER_FIELDS = ("apiVersion", "kind", "name", "uid")


def metadata_causes(metadata: Any, *, label_names: bool) -> list[Cause]:
    """Everything wrong with them. `label_names`: the name becomes a topic level, so it must be an RFC 1123 label."""
    if not isinstance(metadata, dict):
        return [Cause("metadata", "FieldValueTypeInvalid", "must be an object", "TypeError")]
    return [
        *_name(metadata.get("name"), label_faults if label_names else subdomain_faults),
        *_namespace(metadata.get("namespace")),
        *_labels(metadata.get("labels")),
        *_annotations(metadata.get("annotations")),
        *_finalizers(metadata.get("finalizers")),
        *_owners(metadata.get("ownerReferences")),
    ]


def _name(name: Any, rule: Callable[[str], list[str]]) -> Iterator[Cause]:
    if not name:
        message = "Required value: name or generateName is required"
        yield Cause("metadata.name", "FieldValueRequired", message, "Required")
    else:
        yield from _checked("metadata.name", name, rule)


def _namespace(namespace: Any) -> Iterator[Cause]:
    if namespace is not None:
        yield from _checked("metadata.namespace", namespace, label_faults)


def _labels(labels: Any) -> Iterator[Cause]:
    if labels is None:
        return
    if not isinstance(labels, dict):
        yield Cause("metadata.labels", "FieldValueTypeInvalid", "must be an object", "TypeError")
        return
    for key, value in labels.items():
        yield from _checked("metadata.labels", key, key_faults)
        yield from _checked("metadata.labels", value, value_faults)


def _annotations(annotations: Any) -> Iterator[Cause]:
    if annotations is None:
        return
    if not isinstance(annotations, dict):
        yield Cause("metadata.annotations", "FieldValueTypeInvalid", "must be an object", "TypeError")
        return
    for key, value in annotations.items():
        yield from _checked("metadata.annotations", key, lambda k: key_faults(k.lower()))
        if not isinstance(value, str):
            yield _not_text(f"metadata.annotations.{key}")
    size = sum(len(str(part)) for pair in annotations.items() for part in pair)
    if size > MAX_ANNOTATION_BYTES:
        message = f"Too long: may not be more than {MAX_ANNOTATION_BYTES} bytes"
        yield Cause("metadata.annotations", "FieldValueTooLong", message, "TooLarge")


def _finalizers(finalizers: Any) -> Iterator[Cause]:
    if finalizers is None:
        return
    if not isinstance(finalizers, list):
        yield Cause("metadata.finalizers", "FieldValueTypeInvalid", "must be a list", "TypeError")
        return
    for finalizer in finalizers:
        yield from _checked("metadata.finalizers", finalizer, key_faults)


def _owners(owners: Any) -> Iterator[Cause]:
    if owners is None:
        return
    if not isinstance(owners, list):
        yield Cause("metadata.ownerReferences", "FieldValueTypeInvalid", "must be a list", "TypeError")
        return
    for number, owner in enumerate(owners):
        if not isinstance(owner, dict):
            yield Cause(
                f"metadata.ownerReferences[{number}]", "FieldValueTypeInvalid", "must be an object", "TypeError"
            )
            continue
        for field in _OWNER_FIELDS:
            place, value = f"metadata.ownerReferences.{field}", owner.get(field)
            if not value:
                yield Cause(place, "FieldValueInvalid", 'Invalid value: "": must not be empty', "Required")
            elif not isinstance(value, str):
                yield _not_text(place)
    yield from _controllers([o for o in owners if isinstance(o, dict) and o.get("controller") is True], owners)


def _controllers(leading: list[dict[str, Any]], owners: list[Any]) -> Iterator[Cause]:
    if len(leading) > 1:
        one, other = (f"{o.get('kind')}/{o.get('name')}" for o in leading[:2])
        text = f'Only one reference can have Controller set to true. Found "true" in references for {one} and {other}'
        yield Cause(
            "metadata.ownerReferences", "FieldValueInvalid", f"Invalid value: {shown(owners)}: {text}", "Invalid"
        )


def _checked(field: str, value: object, faults: Callable[[str], list[str]]) -> Iterator[Cause]:
    if not isinstance(value, str):
        yield _not_text(field)
        return
    for fault in faults(value):
        yield Cause(field, "FieldValueInvalid", f"Invalid value: {_short(value)}: {fault}", "InvalidName")


def _not_text(field: str) -> Cause:
    return Cause(field, "FieldValueTypeInvalid", "must be a string", "TypeError")


def _short(text: str) -> str:
    return shown(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


_SHOWN = 300
"""Characters of a bad value that are repeated in the message."""
