"""Label and field selectors: as SQL conditions for lists, and as a predicate for watches.

Both read the same index entries. An absent field counts as empty; `!=` and `notin` hold for objects without the
label, as in Kubernetes.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, and_, not_, select, tuple_

from litefleet_controller.resources.meta import label_holds
from litefleet_controller.store.errors import FieldNotSelectableError
from litefleet_controller.store.interface import FieldRequirement, LabelRequirement, Query
from litefleet_controller.store.records import Entries
from litefleet_controller.store.tables import OBJECT_INDEX, OBJECTS

_COLUMNS = {"metadata.name": OBJECTS.c.name, "metadata.namespace": OBJECTS.c.namespace}


def check_fields(query: Query, selectable: Collection[str]) -> None:
    """Whether every field of the query is one of the kind's (`selectable` with leading dots) or of metadata.

    Raises:
        FieldNotSelectableError: it isn't.
    """
    for requirement in query.fields:
        if requirement.path not in _COLUMNS and f".{requirement.path}" not in selectable:
            raise FieldNotSelectableError(query.kind, requirement.path)


def condition(query: Query) -> ColumnElement[bool]:
    """What rows of `objects` the query selects, paging left out."""
    parts: list[ColumnElement[bool]] = [OBJECTS.c.kind == query.kind]
    if query.namespace is not None:
        parts.append(OBJECTS.c.namespace == query.namespace)
    parts += [_label_condition(r) for r in query.labels]
    parts += [_field_condition(r) for r in query.fields]
    return and_(*parts)


def after(position: tuple[str, str]) -> ColumnElement[bool]:
    """Rows that come later than (namespace, name)."""
    return tuple_(OBJECTS.c.namespace, OBJECTS.c.name) > tuple_(*position)


def matches(query: Query, namespace: str, name: str, entries: Entries) -> bool:
    """Whether an object with these index entries is selected. The kind was compared before."""
    if query.namespace not in (None, namespace):
        return False
    if not query.labels and not query.fields:
        return True
    values = dict(entries) | {".metadata.namespace": namespace, ".metadata.name": name}
    return all(label_holds(r.operator, r.values, values.get(r.key)) for r in query.labels) and all(
        (values.get(f".{r.path}", "") == r.value) == r.equal for r in query.fields
    )


def _label_condition(requirement: LabelRequirement) -> ColumnElement[bool]:
    match requirement.operator:
        case "In":
            return _indexed(requirement.key, requirement.values)
        case "NotIn":
            return not_(_indexed(requirement.key, requirement.values))
        case "Exists":
            return _indexed(requirement.key)
        case "DoesNotExist":
            return not_(_indexed(requirement.key))


def _field_condition(requirement: FieldRequirement) -> ColumnElement[bool]:
    column = _COLUMNS.get(requirement.path)
    if column is not None:
        equal: ColumnElement[bool] = column == requirement.value
    elif requirement.value:
        equal = _indexed(f".{requirement.path}", (requirement.value,))
    else:
        equal = not_(_indexed(f".{requirement.path}"))
    return equal if requirement.equal else not_(equal)


def _indexed(key: str, values: tuple[str, ...] | None = None) -> ColumnElement[bool]:
    wanted: Any = OBJECT_INDEX.c.key == key
    if values is not None:
        wanted = and_(wanted, OBJECT_INDEX.c.value.in_(values))
    return OBJECTS.c.id.in_(select(OBJECT_INDEX.c.object_id).where(wanted))
