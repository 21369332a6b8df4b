"""What a kind is to the machinery: schema, checks, columns, subresources. Everything above is generic over it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from litefleet_controller.resources.causes import Cause
from litefleet_controller.resources.meta import GROUP, VERSION
from litefleet_controller.resources.modelcheck import Check
from litefleet_controller.resources.schema import Schema

Json = dict[str, Any]
Judge = Callable[[Json | None, Json], list[Cause]]
"""(the object before, None on create; the object after) -> what is wrong with the step between the two."""
Complete = Callable[[Json], Json]
"""An object with what the server adds to it. Twice is once."""


@dataclass(frozen=True, slots=True)
class Column:
    """A printer column, as in a CRD's additionalPrinterColumns."""

    name: str
    json_path: str
    """The subset `.a.b`, `.a[0].b` and `.a[?(@.type=="X")].b`."""
    type: Literal["string", "integer", "number", "boolean", "date"] = "string"
    description: str = ""
    priority: int = 0
    """0 shows always, 1 with -o wide."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Where a kind's `/scale` finds what it speaks of, as paths such as `.spec.replicas`."""

    spec_replicas: str
    status_replicas: str
    label_selector: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """One kind."""

    kind: str
    plural: str
    singular: str
    schema: Schema
    """Of the whole object."""
    check: Check | None = None
    """What is checked beyond the schema."""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ("litefleet",)
    columns: tuple[Column, ...] = ()
    selectable_fields: tuple[str, ...] = ()
    """JSON paths that a field selector may name beside metadata.name and metadata.namespace."""
    immutable_spec: bool = False
    label_names: bool = True
    """Whether names must be RFC 1123 labels (63 characters, no dots) because they become topic levels."""
    namespaced: bool = True
    has_status: bool = True
    """Whether status is a subresource: then it is written through `/status` only."""
    scale: Scale | None = None
    group: str = GROUP
    version: str = VERSION
    builtin: bool = False
    """One of Kubernetes' own, not a custom resource: strategic merge patches fit it, nobody owns its structs as such,
    and in lists its items don't repeat apiVersion and kind."""
    has_generation: bool = True
    """Whether changes are counted in metadata.generation."""
    judge: Judge | None = None
    """What is checked of the whole object and its change."""
    versions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Other apiVersions that the kind is written in -> their names for its root fields."""
    prepare: Complete | None = None
    """What the server adds to every write as if the writer had sent it."""
    complete: Complete | None = None
    """What the server adds at every write, which nobody owns."""

    @property
    def qualified(self) -> str:
        """plural.group, as messages name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        """group/version, `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version
