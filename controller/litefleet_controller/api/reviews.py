"""What one may do and who one is: `kubectl auth can-i`, `auth can-i --list`, `auth whoami`."""

from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from litefleet_controller.api.bodies import read_object
from litefleet_controller.api.core import ACCESS_REVIEWS, RULES_REVIEWS, SELF_REVIEWS
from litefleet_controller.api.interface import ApiDependencies, Person
from litefleet_controller.api.negotiate import Form
from litefleet_controller.api.reading import answer
from litefleet_controller.api.served import ALL_VERBS, Catalog, Served
from litefleet_controller.api.target import Target
from litefleet_controller.api.writing import check_identity
from litefleet_controller.resources.admission import Cause, InvalidError
from litefleet_controller.store.records import timestamp

_OPEN = ["/version", "/healthz", "/livez", "/readyz", "/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*"]
"""Paths that aren't resources and that everyone with a token may read."""


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
        groups = [f"litefleet:{person.role}", "system:authenticated"]
        status = {"userInfo": {"username": person.name, "groups": groups}}
    made = {"creationTimestamp": timestamp(deps.clock())} if served is SELF_REVIEWS else {}
    head = {"kind": served.kind, "apiVersion": served.api_version, "metadata": made}
    shown = {**head, "spec": spec, "status": status} if served is ACCESS_REVIEWS else {**head, "status": status}
    return answer(msgspec.json.encode(shown), Form(), 201)


def _access(person: Person, spec: dict[str, Any], deps: ApiDependencies, catalog: Catalog) -> dict[str, Any]:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if isinstance(resource, dict):
        allowed = _may(person, resource, deps, catalog)
    elif isinstance(path, dict):
        allowed = path.get("verb") == "get" and _is_open(str(path.get("path", "")))
    else:
        text = "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified"
        cause = Cause("spec.resourceAttributes", "FieldValueInvalid", text)
        raise InvalidError(ACCESS_REVIEWS.kind, "", [cause])
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
    rules = []
    for served in catalog:
        verbs = [v for v in served.verbs if deps.allowed(person, v, served.plural, namespace)]
        if verbs:
            rules.append({"verbs": verbs, "apiGroups": [served.group], "resources": [served.plural]})
    return {
        "resourceRules": rules,
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": _OPEN}],
        "incomplete": False,
    }


def _is_open(path: str) -> bool:
    return any(path.startswith(p[:-1]) if p.endswith("*") else path == p for p in _OPEN)
