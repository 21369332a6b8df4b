"""Events of core/v1: what happened to an object, in one line. The kind that Kubernetes has for every other kind.

Source: Kubernetes' API reference, Event v1 core, and its validation of events.
"""

from typing import Any

from litefleet_controller.resources.causes import Cause
from litefleet_controller.resources.kind import Column, Json, Kind
from litefleet_controller.resources.schema import compile_schema


def _text(description: str) -> Json:
    return {"type": "string", "description": description}


def _time(description: str) -> Json:
    return {"type": "string", "format": "date-time", "nullable": True, "description": description}


_REFERENCE: Json = {
    "type": "object",
    "x-kubernetes-map-type": "atomic",
    "properties": {
        "apiVersion": _text("Group and version of its kind."),
        "fieldPath": _text("The part of it that is meant, as a path."),
        "kind": _text("Its kind."),
        "name": _text("Its name."),
        "namespace": _text("Its tenant, in which the event lives too."),
        "resourceVersion": _text("Its version when it happened."),
        "uid": _text("Tells it from others that ever had the name."),
    },
}
_DOCUMENT: Json = {
    "type": "object",
    "description": "What happened to an object, in one line.",
    "properties": {
        "involvedObject": {**_REFERENCE, "description": "The object that it is about."},
        "related": {**_REFERENCE, "description": "Another object that had a part in it."},
        "reason": _text("A short, stable word for what happened, for programs."),
        "message": _text("What happened, for people."),
        "type": _text("Normal or Warning."),
        "action": _text("What was done about it."),
        "source": {
            "type": "object",
            "description": "Who says so, in the older form.",
            "properties": {"component": _text("The part of a program."), "host": _text("The machine.")},
        },
        "reportingComponent": _text("Who says so."),
        "reportingInstance": _text("Which of several."),
        "firstTimestamp": _time("When it was first seen."),
        "lastTimestamp": _time("When it was last seen."),
        "eventTime": _time("When it happened, to the microsecond."),
        "count": {"type": "integer", "format": "int32", "description": "How often it was seen."},
        "series": {
            "type": "object",
            "description": "How often it went on.",
            "properties": {
                "count": {"type": "integer", "format": "int32", "description": "How often."},
                "lastObservedTime": _time("When it was last seen, to the microsecond."),
            },
        },
    },
}


NEW_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
}
"""What events.k8s.io/v1 calls the root fields of core/v1."""


def _judge(_old: Json | None, event: Json) -> list[Cause]:
    """An event lives beside the object that it is about."""
    about = event.get("involvedObject") or {}
    namespace = about.get("namespace", "")
    if namespace == event["metadata"]["namespace"]:
        return []
    text = f'Invalid value: "{namespace}": does not match event.namespace'
    return [Cause("involvedObject.namespace", "FieldValueInvalid", text, "Invalid")]


_ALWAYS: dict[str, Any] = {
    "source": {},
    "firstTimestamp": None,
    "lastTimestamp": None,
    "eventTime": None,
    "reportingComponent": "",
    "reportingInstance": "",
}
"""Members that Kubernetes shows of every event, given or not."""


def _complete(event: Json) -> Json:
    return {**event, **{name: value for name, value in _ALWAYS.items() if name not in event}}


_COLUMNS = (
    Column(
        "Last Seen",
        ".lastTimestamp",
        description="The time at which the most recent occurrence of this event was recorded.",
    ),
    Column(
        "Type",
        ".type",
        description="Type of this event (Normal, Warning), new types could be added in the future",
    ),
    Column(
        "Reason",
        ".reason",
        description="This should be a short, machine understandable string that gives the reason for the transition "
        "into the object's current status.",
    ),
    Column("Object", ".involvedObject", description="The object that this event is about."),
    Column(
        "Subobject",
        ".involvedObject.fieldPath",
        description="If referring to a piece of an object instead of an entire object, this string should contain"
        " a valid JSON/Go field access statement, such as desiredState.manifest.containers[2]. For "
        "example, if the object reference is to a container within a pod, this would take on a value "
        'like: "spec.containers{name}" (where "name" refers to the name of the container that '
        'triggered the event) or if no container name is specified "spec.containers[2]" (container '
        "with index 2 in this pod). This syntax is chosen only to have some well-defined way of "
        "referencing a part of an object.",
        priority=1,
    ),
    Column(
        "Source",
        ".source.component",
        description="The component reporting this event. Should be a short machine understandable string.",
        priority=1,
    ),
    Column("Message", ".message", description="A human-readable description of the status of this operation."),
    Column(
        "First Seen",
        ".firstTimestamp",
        description="The time at which the event was first recorded. (Time of server receipt is in TypeMeta.)",
        priority=1,
    ),
    Column("Count", ".count", description="The number of times this event has occurred.", priority=1),
    Column("Name", ".metadata.name", priority=1),
)
"""In Kubernetes' own words, which clients show."""
EVENT = Kind(
    "Event", "events", "event", compile_schema(_DOCUMENT, embedded=True, structs=True),
    short_names=("ev",),
    categories=(),
    columns=_COLUMNS,
    selectable_fields=(
        *(f".involvedObject.{name}" for name in ("kind", "namespace", "name", "uid", "apiVersion")),
        ".reason", ".type", ".reportingComponent",
    ),
    label_names=False,
    has_status=False,
    group="",
    version="v1",
    builtin=True,
    has_generation=False,
    versions={"events.k8s.io/v1": NEW_NAMES},
    judge=_judge,
    complete=_complete,
)  # fmt: skip
