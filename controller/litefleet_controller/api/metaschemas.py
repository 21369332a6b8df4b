"""OpenAPI schemas of what Kubernetes' machinery defines for every kind, as far as it is served here."""

from typing import Any

from litefleet_controller.resources.structural import Document as Schema

META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_TEXT: Schema = {"type": "string"}


def reference(name: str) -> Schema:
    """A reference to a schema of the same document."""
    return {"$ref": f"#/components/schemas/{name}"}


def _said(type_: str, description: str, **more: Any) -> Schema:
    return {"type": type_, "description": description, **more}


def _strings(description: str) -> Schema:
    return _said("object", description, additionalProperties=_TEXT)


def _list_of(items: Schema, description: str = "") -> Schema:
    return {"type": "array", "items": items, **({"description": description} if description else {})}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties}


TYPE_META = {
    "apiVersion": _said("string", "Version of the schema that this object is written in."),
    "kind": _said("string", "What this object is, in CamelCase."),
}
_OWNER = _object(
    apiVersion=_said("string", "The owner's apiVersion."),
    kind=_said("string", "The owner's kind."),
    name=_said("string", "The owner's name."),
    uid=_said("string", "The owner's uid."),
    controller=_said("boolean", "Whether the owner is the one that manages this object."),
    blockOwnerDeletion=_said("boolean", "Whether the owner waits for this object in a foreground deletion."),
)
_OBJECT = _object(
    name=_said("string", "Unique within a namespace. Cannot be changed."),
    generateName=_said("string", "Prefix of a name that the server completes."),
    namespace=_said("string", "Tenant that the object lives in."),
    labels=_strings("What objects are selected by: short keys and values."),
    annotations=_strings("What people and tools want to remember; never selected by."),
    uid=_said("string", "Set by the server: another one for each object that ever had the name."),
    resourceVersion=_said("string", "Set by the server: changes with every write. In a write it is a precondition."),
    generation=_said("integer", "Set by the server: grows when the spec changes.", format="int64"),
    creationTimestamp=_said("string", "Set by the server.", format="date-time"),
    deletionTimestamp=_said("string", "Set by the server when a delete waits for finalizers.", format="date-time"),
    deletionGracePeriodSeconds=_said("integer", "Set by the server.", format="int64"),
    finalizers=_list_of(_TEXT, "Whoever has to clean up before the object may go."),
    ownerReferences=_list_of(reference(f"{META}.OwnerReference"), "What this object belongs to and is deleted with."),
    managedFields=_list_of(
        reference(f"{META}.ManagedFieldsEntry"),
        "Who owns which fields, kept by the server; a list of one empty entry ends it until someone applies.",
    ),
)
_MANAGED = _object(
    manager=_said("string", "Who: a program's or a workflow's name."),
    operation=_said("string", "Apply or Update."),
    apiVersion=_said("string", "Version of the object that fieldsV1 speaks of."),
    time=_said("string", "When the fields last changed.", format="date-time"),
    fieldsType=_said("string", "FieldsV1."),
    fieldsV1={"description": "The fields, nested by path: f:name, k:{key}, v:value.", "type": "object"},
    subresource=_said("string", "status, when the fields were written through it."),
)
_CAUSE = _object(
    field=_said("string", "The field, as a path."),
    message=_said("string", "What is wrong with it, for people."),
    reason=_said("string", "What is wrong with it, for programs."),
    code=_said("string", "litefleet's stable code."),
)
_DETAILS = {
    **_object(
        name=_said("string", "The object's name."),
        group=_said("string", "Its group."),
        kind=_said("string", "Its resource, or its kind where it is invalid."),
        uid=_said("string", "Its uid, of one that was deleted."),
        retryAfterSeconds=_said("integer", "When to try again."),
        causes=_list_of(_CAUSE, "Everything that is wrong, one thing each."),
    ),
    "description": "Which object the answer is about, and why it was refused.",
}
_STATUS = _object(
    **TYPE_META,
    status=_said("string", "Success or Failure."),
    message=_said("string", "What happened, for people."),
    reason=_said("string", "What happened, for programs."),
    code=_said("integer", "The HTTP status."),
    details=_DETAILS,
)
_LIST = _object(
    **{
        "resourceVersion": _said("string", "Version of the list: a watch from here misses nothing."),
        "continue": _said("string", "Where the next page begins; empty on the last."),
        "remainingItemCount": _said("integer", "How many come after this page.", format="int64"),
    }
)
_DELETE = _object(
    **TYPE_META,
    dryRun=_list_of(_TEXT, "All: check everything, delete nothing."),
    preconditions={
        **_object(
            uid=_said("string", "Only when the object has this uid."),
            resourceVersion=_said("string", "Only when it has this version."),
        ),
        "description": "What must hold of the object, else it stays.",
    },
    propagationPolicy=_said("string", "What becomes of dependents: Background, Foreground or Orphan."),
)
META_SCHEMAS: dict[str, Schema] = {
    f"{META}.OwnerReference": _OWNER,
    f"{META}.ManagedFieldsEntry": _MANAGED,
    f"{META}.ObjectMeta": _OBJECT,
    f"{META}.ListMeta": _LIST,
    f"{META}.Status": _STATUS,
    f"{META}.DeleteOptions": _DELETE,
    f"{META}.Patch": {"description": "A merge patch (object), a JSON patch (list of operations) or an applied object."},
}

SCALE = "io.k8s.api.autoscaling.v1.Scale"
_NUMBER: Schema = {"type": "integer", "format": "int32"}
SCALE_SCHEMA: Schema = {
    **_object(
        **TYPE_META,
        metadata={"description": "Those of the object.", "allOf": [reference(f"{META}.ObjectMeta")]},
        spec={**_object(replicas={**_NUMBER, "description": "How many are wanted."}), "description": "What is wanted."},
        status={
            **_object(
                replicas={**_NUMBER, "description": "How many there are."},
                selector=_said("string", "Labels by which they are found."),
            ),
            "description": "What is there.",
        },
    ),
    "description": "How many replicas of something are wanted and there.",
    "x-kubernetes-group-version-kind": [{"group": "autoscaling", "version": "v1", "kind": "Scale"}],
}
