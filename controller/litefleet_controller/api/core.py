"""Kubernetes' own resources that ordinary clients need: namespaces, events, and the questions about oneself."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from litefleet_controller.api.ages import age_of
from litefleet_controller.api.served import Served
from litefleet_controller.resources.registry import Column

NAMESPACES = Served(
    "", "v1", "Namespace", "namespaces", "namespace", ("create", "get", "list"),
    namespaced=False,
    short_names=("ns",),
    columns=(
        Column("Status", ".status.phase", description="The status of the namespace"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    selectable_fields=frozenset({"metadata.name", "status.phase"}),
)  # fmt: skip


def _event_cells(event: Mapping[str, Any], now: datetime) -> list[Any]:
    about = event.get("involvedObject", {})
    first, last = event.get("firstTimestamp"), event.get("lastTimestamp") or event.get("firstTimestamp")
    count = event.get("count", 1)
    seen = age_of(last, now)
    if count > 1:
        seen = f"{seen} (x{count} over {age_of(first, now)})"
    return [
        seen,
        event.get("type", ""),
        event.get("reason", ""),
        f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}",
        event.get("source", {}).get("component", ""),
        str(event.get("message", "")).strip(),
        age_of(first, now),
        count,
        event.get("metadata", {}).get("name", ""),
    ]


_ABOUT = ("kind", "namespace", "name", "uid", "apiVersion")
EVENTS = Served(
    "", "v1", "Event", "events", "event", ("get", "list", "watch"),
    short_names=("ev",),
    columns=(
        Column("Last Seen", ".lastTimestamp", description="When it was last seen."),
        Column("Type", ".type", description="Normal or Warning."),
        Column("Reason", ".reason", description="A short, stable word for what happened."),
        Column("Object", ".involvedObject", description="The object that it is about."),
        Column("Source", ".source.component", description="The part of the controller that says so.", priority=1),
        Column("Message", ".message", description="In plain words."),
        Column("First Seen", ".firstTimestamp", description="When it was first seen.", priority=1),
        Column("Count", ".count", "integer", description="How often it was seen.", priority=1),
        Column("Name", ".metadata.name", priority=1),
    ),
    cells=_event_cells,
    selectable_fields=frozenset(
        {"metadata.name", "metadata.namespace", "reason", "type", "reportingComponent"}
        | {f"involvedObject.{name}" for name in _ABOUT}
    ),
)  # fmt: skip

ACCESS_REVIEWS = Served(
    "authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", "selfsubjectaccessreview",
    ("create",), namespaced=False,
)  # fmt: skip
RULES_REVIEWS = Served(
    "authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", "selfsubjectrulesreview",
    ("create",), namespaced=False,
)  # fmt: skip
SELF_REVIEWS = Served(
    "authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", "selfsubjectreview",
    ("create",), namespaced=False,
)  # fmt: skip

REVIEWS = (ACCESS_REVIEWS, RULES_REVIEWS, SELF_REVIEWS)
CORE = (NAMESPACES, EVENTS, *REVIEWS)
