"""OpenAPI v3 as Kubernetes serves it: an index, and a document for each group and version.

`kubectl explain` reads the schemas' descriptions; `apply` and `diff` look whether PATCH takes `dryRun` and
`fieldValidation`; clients pair paths and schemas by `x-kubernetes-group-version-kind`.
"""

import hashlib

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from litefleet_controller.api.bodies import JSON_TYPE, PATCH_TYPES, YAML_TYPE
from litefleet_controller.api.metaschemas import META, META_SCHEMAS, SCALE, SCALE_SCHEMA, TYPE_META, reference
from litefleet_controller.api.served import Catalog, Served
from litefleet_controller.resources.structural import Document as Schema


class OpenApi:
    """The documents, encoded once."""

    def __init__(self, catalog: Catalog, version: str) -> None:
        self._documents: dict[str, bytes] = {}
        for (group, api_version), resources in catalog.versions().items():
            name = f"apis/{group}/{api_version}" if group else f"api/{api_version}"
            self._documents[name] = msgspec.json.encode(_document(resources, version))
        self._documents["version"] = msgspec.json.encode(_VERSION_DOCUMENT)
        self._tags = {name: hashlib.sha256(body).hexdigest().upper() for name, body in self._documents.items()}

    async def index(self, _request: Request) -> Response:
        """`/openapi/v3`; plain text by its header, as in Kubernetes."""
        paths = {name: {"serverRelativeURL": f"/openapi/v3/{name}?hash={tag}"} for name, tag in self._tags.items()}
        return Response(msgspec.json.encode({"paths": paths}), media_type="text/plain")

    async def document(self, request: Request) -> Response:
        """`/openapi/v3/apis/GROUP/VERSION`; a hash of another document redirects to this one."""
        name = request.path_params["name"]
        body = self._documents.get(name)
        if body is None:
            return Response(status_code=404)
        tag, wanted = self._tags[name], request.query_params.get("hash")
        if wanted not in (None, tag):
            headers = {"Etag": f'"{tag}"', "Content-Type": JSON_TYPE}
            return RedirectResponse(f"/openapi/v3/{name}?hash={tag}", 301, headers)
        headers = {"Etag": f'"{tag}"', "Cache-Control": "public, immutable" if wanted else "no-cache, private"}
        if request.headers.get("if-none-match") == headers["Etag"]:
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type=JSON_TYPE)


def _document(resources: list[Served], version: str) -> Schema:
    schemas = dict(META_SCHEMAS)
    paths: dict[str, Schema] = {}
    for served in resources:
        schemas[_name(served)] = _object_schema(served)
        if "scale" in served.subresources:
            schemas[SCALE] = SCALE_SCHEMA
        if "list" in served.verbs:
            schemas[f"{_name(served)}List"] = _list_schema(served)
        paths.update(_paths(served))
    custom = any(served.model is not None and not served.model.builtin for served in resources)
    info = {"title": "Kubernetes CRD Swagger" if custom else "Kubernetes", "version": f"v{version}"}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


_VERSION_DOCUMENT: Schema = {
    "openapi": "3.0.0",
    "info": {"title": "litefleet"},
    "paths": {
        "/version": {
            "get": {
                "operationId": "getVersion",
                "description": "Which release of Kubernetes is followed, and which litefleet this is.",
                "responses": {"200": {"description": "OK", "content": {JSON_TYPE: {"schema": {"type": "object"}}}}},
            }
        }
    },
}


def _name(served: Served) -> str:
    """The schema's name: the group reversed, version and kind, as Kubernetes names those of custom resources."""
    group = ".".join(reversed(served.group.split("."))) if served.group else "io.k8s.api.core"
    return f"{group}.{served.version}.{served.kind}"


def _gvk(served: Served, kind: str | None = None) -> dict[str, str]:
    return {"group": served.group, "kind": kind or served.kind, "version": served.version}


def _described(text: str, name: str) -> Schema:
    return {"description": text, "allOf": [reference(name)]}


def _object_schema(served: Served) -> Schema:
    head = {
        **TYPE_META,
        "metadata": _described("Name, labels, annotations and the rest that every object has.", f"{META}.ObjectMeta"),
    }
    if served.model is None:
        schema: Schema = {"description": f"{served.kind} of Kubernetes.", "type": "object", "properties": head}
        schema["x-kubernetes-preserve-unknown-fields"] = True
    else:
        document = served.model.schema.document
        schema = {**document, "properties": {**document["properties"], **head}}
    return {**schema, "x-kubernetes-group-version-kind": [_gvk(served)]}


def _list_schema(served: Served) -> Schema:
    items = {"description": f"The {served.plural}.", "type": "array", "items": reference(_name(served))}
    return {
        "description": f"A list of {served.plural}.",
        "type": "object",
        "required": ["items"],
        "properties": {
            **TYPE_META,
            "metadata": _described("resourceVersion of the list, and where it goes on.", f"{META}.ListMeta"),
            "items": items,
        },
        "x-kubernetes-group-version-kind": [_gvk(served, f"{served.kind}List")],
    }


def _paths(served: Served) -> dict[str, Schema]:
    root = f"/apis/{served.group}/{served.version}" if served.group else f"/api/{served.version}"
    namespaced = f"{root}/namespaces/{{namespace}}/{served.plural}" if served.namespaced else f"{root}/{served.plural}"
    scope = [_parameter("namespace", "Tenant that the objects live in.", where="path")] if served.namespaced else []
    named = [*scope, _parameter("name", f"Name of the {served.kind}.", where="path")]
    found: dict[str, Schema] = {}

    def add(path: str, parameters: list[Schema], **verbs: str) -> None:
        operations = {m: _operation(served, verb, path) for m, verb in verbs.items() if verb in served.verbs}
        if operations:
            found[path] = {**operations, "parameters": parameters}

    add(namespaced, scope, get="list", post="create", delete="deletecollection")
    add(f"{namespaced}/{{name}}", named, get="get", put="update", patch="patch", delete="delete")
    for part in served.subresources:
        add(f"{namespaced}/{{name}}/{part}", named, get="get", put="update", patch="patch")
    if served.namespaced:
        add(f"{root}/{served.plural}", [], get="list")
    return found


def _operation(served: Served, verb: str, path: str) -> Schema:
    one = SCALE if path.endswith("/scale") else _name(served)
    answer = f"{one}List" if verb in ("list", "deletecollection") else one
    action = {"update": "put", "create": "post"}.get(verb, verb)
    schema = reference(answer)
    if verb == "delete":
        # Gone: a Status says so. Held by a finalizer: the object.
        schema = {"anyOf": [reference(f"{META}.Status"), schema]}
    operation: Schema = {
        "operationId": _operation_id(served, verb, path),
        "description": f"{_PHRASES[verb]} {served.kind}",
        "tags": [_tag(served)],
        "parameters": _query_parameters(verb),
        "responses": {
            "201" if verb == "create" else "200": {
                "description": "OK",
                "content": {t: {"schema": schema} for t in (JSON_TYPE, YAML_TYPE)},
            },
            "401": {"description": "Unauthorized"},
            "default": {"description": "A refusal.", "content": {JSON_TYPE: {"schema": reference(f"{META}.Status")}}},
        },
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _gvk(served),
    }
    body = _request_body(one, verb)
    if body is not None:
        operation["requestBody"] = body
    return operation


_PHRASES = {
    "list": "list objects of kind",
    "get": "read the specified",
    "create": "create a",
    "update": "replace the specified",
    "patch": "partially update the specified",
    "delete": "delete a",
    "deletecollection": "delete collection of",
}
"""As Kubernetes describes its operations."""


def _tag(served: Served) -> str:
    first, *rest = served.group.split(".") if served.group else ["core"]
    return f"{first}{''.join(part.title() for part in rest)}_{served.version}"


def _operation_id(served: Served, verb: str, path: str) -> str:
    group = "".join(part.title() for part in served.group.split("."))
    version = f"{served.version[0].upper()}{served.version[1:]}"
    suffix = next((part.title() for part in served.subresources if path.endswith(f"/{part}")), "")
    if served.namespaced and "{namespace}" not in path:
        suffix = "ForAllNamespaces"
    return f"{verb}{group}{version}{served.kind}{suffix}"


def _request_body(name: str, verb: str) -> Schema | None:
    match verb:
        case "create" | "update":
            return {
                "required": True,
                "content": {t: {"schema": reference(name)} for t in (JSON_TYPE, YAML_TYPE)},
            }
        case "patch":
            patch = {"schema": reference(f"{META}.Patch")}
            return {"required": True, "content": dict.fromkeys(PATCH_TYPES, patch)}
        case "delete" | "deletecollection":
            return {"content": {JSON_TYPE: {"schema": reference(f"{META}.DeleteOptions")}}}
    return None


def _query_parameters(verb: str) -> list[Schema]:
    selecting = [
        _parameter("labelSelector", "Labels that the objects must have: a=b, a!=b, a in (b,c), a notin (b), a, !a."),
        _parameter("fieldSelector", "Fields that the objects must have, e.g. metadata.name=x."),
        _parameter("limit", "Largest number of objects in the answer; metadata.continue leads to the next.", "integer"),
        _parameter("continue", "metadata.continue of the page before."),
    ]
    writing = [
        _parameter("dryRun", "All: check everything, store nothing."),
        _parameter("fieldManager", "Who owns what is written, as a short name; must be given for server-side apply."),
        _parameter("fieldValidation", "Unknown fields: Strict refuses, Warn (default) drops and warns, Ignore drops."),
    ]
    match verb:
        case "list":
            return [
                *selecting,
                _parameter("watch", "Stream changes in place of a list.", "boolean"),
                _parameter(
                    "allowWatchBookmarks", "Send BOOKMARK events, which say how far a watch has come.", "boolean"
                ),
                _parameter("resourceVersion", "Lists: not older than this; watches: changes after this."),
                _parameter("resourceVersionMatch", "Exact or NotOlderThan."),
                _parameter("sendInitialEvents", "Begin a watch with the current objects.", "boolean"),
                _parameter("timeoutSeconds", "End the watch after this time.", "integer"),
            ]
        case "get":
            return [_parameter("resourceVersion", "Not older than this.")]
        case "create" | "update":
            return writing
        case "patch":
            return [
                *writing,
                _parameter("force", "Take fields over from other managers; for server-side apply only.", "boolean"),
            ]
        case "deletecollection":
            return [*selecting, writing[0], *_DELETING]
        case _:
            return [writing[0], *_DELETING]


def _parameter(name: str, description: str, type_: str = "string", *, where: str = "query") -> Schema:
    parameter: Schema = {"name": name, "in": where, "description": description, "schema": {"type": type_}}
    if where == "path":
        parameter["required"] = True
    return parameter


_DELETING = (
    _parameter(
        "propagationPolicy",
        "What becomes of dependents: Background (they go after it), Foreground (before it), Orphan (they stay).",
    ),
    _parameter("gracePeriodSeconds", "Accepted, without effect.", "integer"),
    _parameter("orphanDependents", "The older form of propagationPolicy=Orphan.", "boolean"),
)
