"""Discovery: which groups, versions and resources there are, in the three forms that clients ask for.

Aggregated (kubectl from 1.30), and the lists that older ones, `auth can-i` and the Python client read.
"""

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from litefleet_controller.api import scale
from litefleet_controller.api.negotiate import accepted, negotiate
from litefleet_controller.api.served import STATUS_VERBS, Catalog, Served

_GROUP, _VERSION = "apidiscovery.k8s.io", "v2"


class Discovery:
    """Answers that only change with the program, encoded once."""

    def __init__(self, catalog: Catalog) -> None:
        self._versions = catalog.versions()
        self._aggregated = {core: msgspec.json.encode(self._groups(core=core)) for core in (True, False)}

    def roots(self, request: Request, *, core: bool) -> Response:
        """`/api` (core) or `/apis`."""
        for entry in accepted(request.headers.get("accept")):
            if (entry.parameters.get("g"), entry.parameters.get("v")) == (_GROUP, _VERSION):
                return _tagged(request, self._aggregated[core])
            if "as" not in entry.parameters:
                break
        else:
            negotiate(request.headers.get("accept"))
        return _json(
            _versions(request)
            if core
            else {"kind": "APIGroupList", "apiVersion": "v1", "groups": self._legacy_groups()}
        )

    def group(self, group: str) -> Response | None:
        """`/apis/GROUP`."""
        found = next((g for g in self._legacy_groups() if g["name"] == group), None)
        return _json({"kind": "APIGroup", "apiVersion": "v1", **found}) if found is not None else None

    def version(self, group: str, version: str) -> Response | None:
        """`/api/v1` or `/apis/GROUP/VERSION`."""
        resources = self._versions.get((group, version))
        if resources is None:
            return None
        listed = [entry for served in resources for entry in _legacy(served)]
        name = f"{group}/{version}" if group else version
        return _json({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": listed})

    def _legacy_groups(self) -> list[dict[str, Any]]:
        groups = []
        for group, version in self._versions:
            if group:
                named = {"groupVersion": f"{group}/{version}", "version": version}
                groups.append({"name": group, "versions": [named], "preferredVersion": named})
        return groups

    def _groups(self, *, core: bool) -> dict[str, Any]:
        items = []
        for (group, version), resources in self._versions.items():
            if (group == "") is core:
                metadata = {"name": group} if group else {}
                shown = {
                    "version": version,
                    "resources": [_aggregated(s) for s in sorted(resources, key=lambda s: s.plural)],
                    "freshness": "Current",
                }
                items.append({"metadata": metadata, "versions": [shown]})
        return {"kind": "APIGroupDiscoveryList", "apiVersion": f"{_GROUP}/{_VERSION}", "metadata": {}, "items": items}


def _versions(request: Request) -> dict[str, Any]:
    server = request.headers.get("host", "")
    addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": server}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}


def _aggregated(served: Served) -> dict[str, Any]:
    custom = served.model is not None and not served.model.builtin
    # Of its own kinds Kubernetes leaves out what the place in the document says.
    kind = {"group": served.group, "version": served.version} if custom else {"group": "", "version": ""}
    kind["kind"] = served.kind
    entry: dict[str, Any] = {
        "resource": served.plural,
        "responseKind": kind,
        "scope": "Namespaced" if served.namespaced else "Cluster",
        "singularResource": served.singular,
        "verbs": list(served.verbs),
        **_names(served),
    }
    if served.subresources:
        kinds = {"status": kind, "scale": {"group": scale.GROUP, "version": scale.VERSION, "kind": scale.KIND}}
        entry["subresources"] = [
            {"subresource": name, "responseKind": kinds[name], "verbs": list(STATUS_VERBS)}
            for name in served.subresources
        ]
    return entry


def _legacy(served: Served) -> list[dict[str, Any]]:
    entry = {
        "name": served.plural,
        "singularName": served.singular,
        "namespaced": served.namespaced,
        "kind": served.kind,
        "verbs": list(served.verbs),
        **_names(served),
    }
    if served.model is None:
        return [entry]
    stored = f"{served.group}/{served.version}/{served.kind}".encode()
    entry["storageVersionHash"] = base64.b64encode(hashlib.sha256(stored).digest()[:8]).decode()
    return [entry, *(_legacy_part(served, name) for name in served.subresources)]


def _legacy_part(served: Served, subresource: str) -> dict[str, Any]:
    other = {"group": scale.GROUP, "version": scale.VERSION} if subresource == "scale" else {}
    return {
        "name": f"{served.plural}/{subresource}",
        "singularName": "",
        "namespaced": served.namespaced,
        **other,
        "kind": scale.KIND if subresource == "scale" else served.kind,
        "verbs": list(STATUS_VERBS),
    }


def _names(served: Served) -> dict[str, Sequence[str]]:
    members = {"shortNames": served.short_names, "categories": served.categories}
    return {k: list(v) for k, v in members.items() if v}


def _json(body: dict[str, Any]) -> Response:
    headers = {"Cache-Control": "no-cache, private"}
    return Response(msgspec.json.encode(body), headers=headers, media_type="application/json")


def _tagged(request: Request, body: bytes) -> Response:
    tag = f'"{hashlib.sha256(body).hexdigest().upper()}"'
    headers = {"Etag": tag, "Cache-Control": "public"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    media = f"application/json;g={_GROUP};v={_VERSION};as=APIGroupDiscoveryList"
    return Response(body, headers={**headers, "Content-Type": media})
