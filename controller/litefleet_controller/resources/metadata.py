"""Checks of an object's metadata, the same for every kind. Part of admission."""

from collections.abc import Callable, Iterator
from typing import Any

from litefleet_controller.resources.causes import Cause
from litefleet_controller.resources.names import check_label, check_label_key, check_label_value, check_name

MAX_ANNOTATION_BYTES = 256 * 1024
"""Keys and values together, as in Kubernetes."""
_OWNER_FIELDS = ("apiVersion", "kind", "name", "uid")


def metadata_causes(metadata: Any, *, label_names: bool) -> list[Cause]:
    """Everything wrong with them. `label_names`: the name becomes a topic level, so it must be an RFC 1123 label."""
    if not isinstance(metadata, dict):
        return [Cause("metadata", "FieldValueTypeInvalid", "must be an object", "TypeError")]
    return [
        *_name(metadata.get("name"), check_label if label_names else check_name),
        *_namespace(metadata.get("namespace")),
        *_labels(metadata.get("labels")),
        *_annotations(metadata.get("annotations")),
        *_finalizers(metadata.get("finalizers")),
        *_owners(metadata.get("ownerReferences")),
    ]


def _name(name: Any, rule: Callable[[str], str]) -> Iterator[Cause]:
    if not name:
        message = "Required value: name or generateName is required"
        yield Cause("metadata.name", "FieldValueRequired", message, "Required")
    else:
        yield from _checked("metadata.name", name, rule)


def _namespace(namespace: Any) -> Iterator[Cause]:
    if namespace is not None:
        yield from _checked("metadata.namespace", namespace, check_label)


def _labels(labels: Any) -> Iterator[Cause]:
    if labels is None:
        return
    if not isinstance(labels, dict):
        yield Cause("metadata.labels", "FieldValueTypeInvalid", "must be an object", "TypeError")
        return
    for key, value in labels.items():
        yield from _checked("metadata.labels", key, check_label_key)
        yield from _checked(f"metadata.labels.{key}", value, check_label_value)


def _annotations(annotations: Any) -> Iterator[Cause]:
    if annotations is None:
        return
    if not isinstance(annotations, dict):
        yield Cause("metadata.annotations", "FieldValueTypeInvalid", "must be an object", "TypeError")
        return
    for key, value in annotations.items():
        yield from _checked("metadata.annotations", key, lambda k: check_label_key(k.lower()))
        if not isinstance(value, str):
            yield _not_text(f"metadata.annotations.{key}")
    size = sum(len(str(part)) for pair in annotations.items() for part in pair)
    if size > MAX_ANNOTATION_BYTES:
        message = f"Too long: {size} of at most {MAX_ANNOTATION_BYTES} bytes"
        yield Cause("metadata.annotations", "FieldValueInvalid", message, "TooLarge")


def _finalizers(finalizers: Any) -> Iterator[Cause]:
    if finalizers is None:
        return
    if not isinstance(finalizers, list):
        yield Cause("metadata.finalizers", "FieldValueTypeInvalid", "must be a list", "TypeError")
        return
    for number, finalizer in enumerate(finalizers):
        yield from _checked(f"metadata.finalizers[{number}]", finalizer, check_label_key)


def _owners(owners: Any) -> Iterator[Cause]:
    if owners is None:
        return
    if not isinstance(owners, list):
        yield Cause("metadata.ownerReferences", "FieldValueTypeInvalid", "must be a list", "TypeError")
        return
    for number, owner in enumerate(owners):
        place = f"metadata.ownerReferences[{number}]"
        if not isinstance(owner, dict):
            yield Cause(place, "FieldValueTypeInvalid", "must be an object", "TypeError")
            continue
        for field in _OWNER_FIELDS:
            value = owner.get(field)
            if not value:
                yield Cause(f"{place}.{field}", "FieldValueRequired", "Required value", "Required")
            elif not isinstance(value, str):
                yield _not_text(f"{place}.{field}")


def _checked(field: str, value: object, rule: Callable[[str], str]) -> Iterator[Cause]:
    if not isinstance(value, str):
        yield _not_text(field)
        return
    try:
        rule(value)
    except ValueError as e:
        yield Cause(field, "FieldValueInvalid", f"Invalid value: {_short(value)}: {e}", "InvalidName")


def _not_text(field: str) -> Cause:
    return Cause(field, "FieldValueTypeInvalid", "must be a string", "TypeError")


def _short(text: str) -> str:
    return f'"{text}"' if len(text) <= 60 else f'"{text[:57]}..."'
