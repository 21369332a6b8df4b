"""What one may do and who one is: `kubectl auth can-i`, `auth can-i --list`, `auth whoami`."""

from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from litefleet_controller.api.bodies import read_object
from litefleet_controller.api.core import ACCESS_REVIEWS, RULES_REVIEWS, SELF_REVIEWS
from litefleet_controller.api.errors import ApiError, StatusCause
from litefleet_controller.api.interface import ApiDependencies, Person
from litefleet_controller.api.negotiate import Form
from litefleet_controller.api.options import write_options
from litefleet_controller.api.reading import answer
from litefleet_controller.api.served import ALL_VERBS, Catalog, Served
from litefleet_controller.api.target import OPEN_PATHS, PUBLIC_INFO, WELL_KNOWN, Target, is_open, may_everything
from litefleet_controller.api.writing import agent_of, check_identity
from litefleet_controller.resources.schema import Schema
from litefleet_controller.store.apply.tracking import Writer, tracked
from litefleet_controller.store.records import timestamp

_ANY: dict[str, Any] = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
_REVIEW = Schema(properties={"spec": Schema(type="object", is_struct=True)})
"""As far as it counts for who owns what of a review."""


async def review(request: Request, served: Served, target: Target, deps: ApiDependencies, catalog: Catalog) -> Response:
    """POST of one of the three kinds; nothing is kept.

    Raises:
        ApiError, InvalidError.
    """
    decoded = await read_object(request, with_protobuf=True)
    body = decoded.value
    check_identity(served, body, target, whole=True)
    person: Person = request.state.person
    spec = body.get("spec") if isinstance(body.get("spec"), dict) else {}
    if served is ACCESS_REVIEWS:
        status = _access(person, spec, deps, catalog)
    elif served is RULES_REVIEWS:
        status = _rules(person, spec, deps, catalog)
    else:
        groups = [*person.groups, "system:authenticated"]
        status = {"userInfo": {"username": person.name, "uid": person.uid, "groups": groups}}
    shown = {"kind": served.kind, "apiVersion": served.api_version, "metadata": {}}
    now = timestamp(deps.clock())
    if served is SELF_REVIEWS:
        shown["metadata"] = {"creationTimestamp": now}
    elif served is RULES_REVIEWS:
        shown["spec"] = {}
    else:
        options = write_options("CreateOptions", request.query_params, agent_of(request))
        shown = tracked(_REVIEW, None, {**shown, "spec": spec}, None, Writer(options.manager, now))
    return answer(msgspec.json.encode({**shown, "status": status}), Form(), 201)


def _access(person: Person, spec: dict[str, Any], deps: ApiDependencies, catalog: Catalog) -> dict[str, Any]:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if isinstance(resource, dict):
        allowed = _may(person, resource, deps, catalog)
    elif isinstance(path, dict):
        allowed = path.get("verb") == "get" and is_open(str(path.get("path", "")))
    else:
        text = "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified"
        cause = StatusCause("FieldValueInvalid", text, "spec.resourceAttributes")
        group = ACCESS_REVIEWS.group  # The kind isn't named: so it is in Kubernetes.
        message = f'.{group} "" is invalid: {cause.field}: {text}'
        raise ApiError(422, message, details={"group": group}, causes=[cause])
    return {"allowed": allowed}


def _may(person: Person, wanted: dict[str, Any], deps: ApiDependencies, catalog: Catalog) -> bool:
    """Whether all that the attributes span is allowed; `*` spans everything."""
    texts = {k: v for k, v in wanted.items() if isinstance(v, str)}
    verb, plural = texts.get("verb", ""), texts.get("resource", "")
    namespace = texts.get("namespace") or None
    if plural == "namespaces" and texts.get("name"):
        namespace = texts["name"]
    subresource = f"/{texts['subresource']}" if texts.get("subresource") else ""
    pairs: list[tuple[str, str]] = []
    for name, verbs in _spanned(plural, catalog):
        pairs += [(v, name + subresource) for v in (verbs if verb == "*" else (verb,))]
    return bool(verb) and bool(pairs) and all(deps.allowed(person, v, name, namespace) for v, name in pairs)


def _spanned(plural: str, catalog: Catalog) -> list[tuple[str, Sequence[str]]]:
    """Resources that `plural` spans, each with its verbs. One that isn't served may still be asked about."""
    if plural == "*":
        return [(served.plural, served.verbs) for served in catalog]
    found = [served.verbs for served in catalog if served.plural == plural]
    return [(plural, found[0] if found else ALL_VERBS)] if plural else []


def _rules(person: Person, spec: dict[str, Any], deps: ApiDependencies, catalog: Catalog) -> dict[str, Any]:
    namespace = str(spec.get("namespace") or "") or None
    by_verbs: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for served in catalog:
        verbs = tuple(v for v in served.verbs if deps.allowed(person, v, served.plural, namespace))
        if verbs:
            by_verbs.setdefault((served.group, verbs), []).append(served.plural)
    rules = [{"verbs": list(v), "apiGroups": [g], "resources": names} for (g, v), names in by_verbs.items()]
    paths = [
        {"verbs": ["get"], "nonResourceURLs": list(PUBLIC_INFO)},
        {"verbs": ["get"], "nonResourceURLs": list(OPEN_PATHS)},
        {"verbs": ["get"], "nonResourceURLs": list(WELL_KNOWN)},
    ]
    if may_everything(person, deps.allowed):
        rules = [_ANY, *(r for r in rules if r["apiGroups"] in _OF_SELF)]
        paths = [{"verbs": ["*"], "nonResourceURLs": ["*"]}, *paths]
    return {"resourceRules": rules, "nonResourceRules": paths, "incomplete": False}


_OF_SELF = ([ACCESS_REVIEWS.group], [SELF_REVIEWS.group])
"""Groups of the questions about oneself, which everyone may ask."""
