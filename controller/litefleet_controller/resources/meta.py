"""What every kind shares: object metadata, conditions, label selectors, the base of spec and status models."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from litefleet_controller.resources.names import check_label, check_label_key, check_label_value, check_name

GROUP = "litefleet.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

Name = Annotated[str, AfterValidator(check_name)]
"""An RFC 1123 subdomain: what names an object that never becomes a topic level."""
Label = Annotated[str, AfterValidator(check_label)]
"""An RFC 1123 label: names of models, devices, classes and namespaces, which are topic levels and certificate names."""
LabelKey = Annotated[str, AfterValidator(check_label_key)]
LabelValue = Annotated[str, AfterValidator(check_label_value)]


class Part(BaseModel):
    """Base of everything in a manifest: camelCase outside, snake_case inside, unknown fields refused."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", use_enum_values=True, allow_inf_nan=False
    )

    def dump(self) -> dict[str, Any]:
        """As JSON-ready dict in the manifest's spelling, without absent fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class OwnerReference(Part):
    """The object that this one belongs to and is deleted with."""

    api_version: str = Field(description="The owner's apiVersion.")
    kind: str = Field(description="The owner's kind.")
    name: str = Field(description="The owner's name.")
    uid: str = Field(description="The owner's uid.")
    controller: bool | None = Field(default=None, description="Whether the owner is the one that manages this object.")
    block_owner_deletion: bool | None = Field(
        default=None, description="Whether the owner waits for this object in a foreground deletion."
    )


class ObjectMeta(BaseModel):
    """Kubernetes' ObjectMeta, as far as litefleet uses it. Fields of a newer Kubernetes pass through unread."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow")

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[LabelKey, LabelValue] = {}
    annotations: dict[LabelKey, str] = {}
    finalizers: list[str] = []
    owner_references: list[OwnerReference] = []


class Condition(Part):
    """metav1.Condition: one observation about an object, with the reason as a stable code."""

    type: str = Field(description="What is observed, in CamelCase; one of a type.")
    status: Literal["True", "False", "Unknown"] = Field(description="True, False or Unknown.")
    reason: str = Field(description="A stable code in CamelCase.")
    message: str = Field(default="", description="In plain words.")
    last_transition_time: datetime = Field(description="When the status last changed.")
    observed_generation: int | None = Field(
        default=None, description="Generation of the object that this was observed at."
    )


LabelOperator = Literal["In", "NotIn", "Exists", "DoesNotExist"]


class LabelSelectorRequirement(Part):
    """One expression of a label selector."""

    key: LabelKey = Field(description="The label's key.")
    operator: LabelOperator = Field(description="In and NotIn compare with values; Exists and DoesNotExist take none.")
    values: list[LabelValue] = Field(default=[], description="Values of the label.")


class LabelSelector(Part):
    """metav1.LabelSelector; an empty one matches everything."""

    match_labels: dict[LabelKey, LabelValue] = Field(default={}, description="Labels that must have these values.")
    match_expressions: list[LabelSelectorRequirement] = Field(
        default=[], description="Requirements, all of which hold."
    )

    def matches(self, labels: dict[str, str]) -> bool:
        """Whether `labels` satisfy every requirement. NotIn holds for objects without the label, as in Kubernetes."""
        return all(labels.get(k) == v for k, v in self.match_labels.items()) and all(
            label_holds(e.operator, e.values, labels.get(e.key)) for e in self.match_expressions
        )


def label_holds(operator: LabelOperator, values: Sequence[str], value: str | None) -> bool:
    """Whether an object whose label has `value` (None: it has no such label) meets one requirement."""
    match operator:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None


class Status(Part):
    """What every status has. `observedGeneration` stays absent until a reconciler has seen the object."""

    observed_generation: int | None = Field(
        default=None, description="Generation that the controller has acted on; absent until it has."
    )
    conditions: list[Condition] = Field(
        default=[],
        description="What is known about the object, one entry a type.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )


def set_condition(
    conditions: list[Condition],
    type_: str,
    status: bool | None,
    reason: str,
    message: str,
    now: datetime,
    generation: int,
) -> list[Condition]:
    """`conditions` with one replaced or added; the transition time moves only when the status does."""
    value: Literal["True", "False", "Unknown"] = "Unknown" if status is None else "True" if status else "False"
    old = next((c for c in conditions if c.type == type_), None)
    since = old.last_transition_time if old is not None and old.status == value else now
    fresh = Condition(
        type=type_,
        status=value,
        reason=reason,
        message=message,
        last_transition_time=since,
        observed_generation=generation,
    )
    if old is None:
        return [*conditions, fresh]
    return [fresh if c.type == type_ else c for c in conditions]
