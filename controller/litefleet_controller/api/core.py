"""Kubernetes' own resources that ordinary clients need: namespaces, events, and the questions about oneself."""

from litefleet_controller.api.events import EVENTS, NEW_EVENTS
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
CORE = (NAMESPACES, NEW_EVENTS, EVENTS, *REVIEWS)
"""Of two that serve one kind, messages name the later."""
