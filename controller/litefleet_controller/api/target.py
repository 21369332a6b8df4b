"""What a request is about: the path and method in Kubernetes' terms (its `RequestInfo`), and whether one may do it."""

from collections.abc import Mapping
from dataclasses import dataclass

from litefleet_controller.api.errors import ApiError, StatusCause, not_found
from litefleet_controller.api.interface import ANONYMOUS, Allowed, Person
from litefleet_controller.api.served import Catalog

CORE_PREFIX, GROUPS_PREFIX = "/api/", "/apis/"


@dataclass(frozen=True, slots=True)
class Target:
    """A resource's collection, or one object of it, or a subresource of that."""

    group: str
    version: str
    plural: str
    namespace: str | None
    name: str = ""
    subresource: str = ""
    watch: bool = False
    """The path asked for a watch, in the form that preceded `?watch=1`."""

    @property
    def resource(self) -> str:
        """As authorization names it."""
        return f"{self.plural}/{self.subresource}" if self.subresource else self.plural


def parse_target(path: str) -> Target | None:
    """The target of `/api/V/…` or `/apis/G/V/…`; None for a path that can't be one."""
    if path.startswith(GROUPS_PREFIX):
        group, _, rest = path.removeprefix(GROUPS_PREFIX).partition("/")
    elif path.startswith(CORE_PREFIX):
        group, rest = "", path.removeprefix(CORE_PREFIX)
    else:
        return None
    version, *steps = rest.rstrip("/").split("/")
    watch = bool(steps) and steps[0] == "watch"
    if watch:
        steps = steps[1:]
    namespace = None
    if len(steps) > 2 and steps[0] == "namespaces" and steps[2] not in ("status", "finalize"):
        namespace, steps = steps[1], steps[2:]
    if not steps or len(steps) > 3 or not all(steps) or namespace == "":
        return None
    plural, name, subresource = (*steps, "", "")[:3]
    if plural == "namespaces" and not group and namespace is None and name:
        namespace = name
    return Target(group, version, plural, namespace, name, subresource, watch)


_WRITES = {"POST": "create", "PUT": "update", "PATCH": "patch"}


def verb_of(method: str, target: Target, *, watch: bool) -> str:
    """Kubernetes' verb, empty for a method that has none. A watch of one object is a plain get."""
    match method:
        case "GET" | "HEAD" if target.name:
            return "get"
        case "GET" | "HEAD":
            return "watch" if watch or target.watch else "list"
        case "DELETE":
            return "delete" if target.name else "deletecollection"
        case _:
            return _WRITES.get(method, "")


def authorize(person: Person, verb: str, target: Target, *, allowed: Allowed, catalog: Catalog) -> None:
    """Nothing, when `person` may.

    Raises:
        ApiError: 404 for another tenant's namespace, so that nobody learns what is in there; else 403.
    """
    if person is ANONYMOUS:
        raise forbidden(person, verb, target)
    if allowed(person, verb, target.resource, target.namespace):
        return
    if target.namespace is not None and person.namespace not in (None, target.namespace):
        served = catalog.find(target.group, target.version, target.plural)
        if served is not None and target.name:
            raise not_found(served, target.name)
        details = {"name": target.namespace, "kind": "namespaces"}
        raise ApiError(404, f'namespaces "{target.namespace}" not found', details=details)
    raise forbidden(person, verb, target)


def forbidden(person: Person, verb: str, target: Target) -> ApiError:
    """403, naming who can't do what to which, and where."""
    qualified = f"{target.plural}.{target.group}" if target.group else target.plural
    what = f'{qualified} "{target.name}"' if target.name else qualified
    scope = f'in the namespace "{target.namespace}"' if target.namespace else "at the cluster scope"
    details: Mapping[str, str] = {
        k: v for k, v in {"name": target.name, "group": target.group, "kind": target.plural}.items() if v
    }
    return ApiError(
        403,
        f'{what} is forbidden: User "{person.name}" cannot {verb} resource "{target.resource}" '
        f'in API group "{target.group}" {scope}',
        details=details,
        causes=[_why_not(person)],
    )


def _why_not(person: Person) -> StatusCause:
    text = f"the role {person.role} doesn't include it" if person.role else "no token was sent: it says who asks"
    return StatusCause("Forbidden", text, code="Forbidden")


OPEN_PATHS = (
    "/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version",
    "/version/",
)  # fmt: skip
"""Paths that aren't resources and that everyone with a token may read."""
PUBLIC_INFO = ("/healthz", "/livez", "/readyz", "/version", "/version/")
"""Those of them that tell nothing about what is stored."""
WELL_KNOWN = ("/.well-known", "/.well-known/*")
"""Open too, as in Kubernetes; nothing is served there yet, and everyone is told so."""
_OWN = ("/", "/openapi.json")
"""Litefleet's own, for everyone with a token; /fleet/ and what else has doors of its own decides for itself."""
_DOORS = ("/fleet/", "/ui")


def is_open(path: str) -> bool:
    """Whether everyone with a token may read it."""
    return any(path.startswith(p[:-1]) if p.endswith("*") else path == p for p in (*OPEN_PATHS, *WELL_KNOWN))


def may_everything(person: Person, allowed: Allowed) -> bool:
    """Whether nothing is kept from `person`, in any namespace and outside of them."""
    return person is not ANONYMOUS and allowed(person, "*", "*", None)


def authorize_path(person: Person, method: str, path: str, allowed: Allowed) -> None:
    """Nothing, when `path` is a resource's, which `authorize` decides about, or when `person` may.

    Raises:
        ApiError: 403.
    """
    if path.startswith(_DOORS) or _is_resource(path) or may_everything(person, allowed):
        return
    if person is ANONYMOUS or not (is_open(path) or path in _OWN):
        verb = {"HEAD": "get"}.get(method, method.lower())
        text = f'forbidden: User "{person.name}" cannot {verb} path "{path[:200]}"'
        raise ApiError(403, text, details={}, causes=[_why_not(person)])


def _is_resource(path: str) -> bool:
    """Below a version of a group, and not the list of what is there."""
    steps = path.rstrip("/").split("/")
    return (path.startswith(GROUPS_PREFIX) and len(steps) > _OF_GROUP) or (
        path.startswith(CORE_PREFIX) and len(steps) > _OF_CORE
    )


_OF_GROUP, _OF_CORE = 4, 3
"""Steps of `/apis/G/V` and of `/api/V`, the empty one before the first slash included."""
