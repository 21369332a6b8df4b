"""Kubernetes' own resources that ordinary clients need: namespaces, events, and the questions about oneself."""

from dataclasses import replace

from litefleet_controller.api.events import EVENTS, NEW_EVENTS
from litefleet_controller.api.served import ALL_VERBS, Served, of_kind
from litefleet_controller.resources.namespace import NAMESPACE

NAMESPACES = replace(of_kind(NAMESPACE), verbs=tuple(v for v in ALL_VERBS if v != "deletecollection"))


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
