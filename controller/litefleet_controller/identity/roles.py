"""What each role may do: one pure table that every door asks.

A viewer reads, an operator also changes models, rollouts and analysis templates and gives verbs to rollouts, an admin
does everything. A person bound to a namespace has the role there and nothing anywhere else. Called by api/ for each
request; the store and the reconcilers never ask.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Role(StrEnum):
    """From least to most."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks: a human or a program, known by a token."""

    name: str
    role: Role
    namespace: str | None
    """None: every namespace, and what lies in none."""

    @property
    def uid(self) -> str:
        """Names of people are unique, so that the name is it."""
        return self.name

    @property
    def groups(self) -> tuple[str, ...]:
        """The role, as a group."""
        return (f"litefleet:{self.role}",)


class Asker(Protocol):
    """The part of a person that counts here."""

    @property
    def role(self) -> str:
        """A Role."""
        ...

    @property
    def namespace(self) -> str | None:
        """As in Person."""
        ...


READ = frozenset({"get", "list", "watch"})
WRITE = frozenset({"create", "update", "patch", "delete", "deletecollection"})
SECRET = frozenset({"devicetokens", "accesstokens"})
"""Resources that only an admin even sees."""
OPERATED = frozenset({"models", "modelrollouts", "analysistemplates", "blobs"})
"""What an operator may change. Blobs are what `model push` uploads."""
ROLLOUT_VERBS = frozenset({"promote", "abort", "retry", "undo", "pause", "resume"})
SELF = frozenset({"selfsubjectaccessreviews", "selfsubjectreviews", "selfsubjectrulesreviews"})
"""Questions about oneself, which every authenticated person may ask."""


def allowed(person: Asker, verb: str, resource: str, namespace: str | None) -> bool:
    """Whether `person` may do `verb` to `resource`, in `namespace` (None: in no namespace, or in all at once).

    `verb` is Kubernetes' (get, list, watch, create, update, patch, delete, deletecollection), or a rollout verb.
    `resource` is plural and may name a subresource: `modelrollouts/status`, `modelrollouts/promote`. `*` is every verb,
    or every resource.
    A role that is none of ours may nothing.
    """
    name, _, subresource = resource.partition("/")
    if name in SELF:
        return verb == "create"
    if person.namespace is not None and (namespace != person.namespace or _makes_tenants(verb, name)):
        return False
    match person.role:
        case Role.ADMIN:
            return True
        case Role.OPERATOR:
            return _reads(verb, name) or _operates(verb, name, subresource)
        case Role.VIEWER:
            return _reads(verb, name)
        case _:
            return False


def _makes_tenants(verb: str, name: str) -> bool:
    """Which tenants there are is not for a tenant to say."""
    return name == "namespaces" and verb in WRITE


def _reads(verb: str, name: str) -> bool:
    return verb in READ and name not in SECRET


def _operates(verb: str, name: str, subresource: str) -> bool:
    if name == "modelrollouts" and subresource in ROLLOUT_VERBS:
        return verb == "create"
    if name == "modelrollouts" and verb in ROLLOUT_VERBS:
        return not subresource
    # Status belongs to the controller: an operator who could write it could fake an analysis.
    return not subresource and name in OPERATED and verb in WRITE
