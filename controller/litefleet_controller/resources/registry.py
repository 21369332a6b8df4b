"""The registry of kinds: what the API serves, and all that it needs to know of each."""

from collections.abc import Iterator
from typing import Any

from litefleet_controller.resources.device import DeviceClassSpec, DeviceClassStatus, DeviceSpec, DeviceStatus
from litefleet_controller.resources.event import EVENT
from litefleet_controller.resources.kind import Column, Kind
from litefleet_controller.resources.meta import Part
from litefleet_controller.resources.model import ModelSpec, ModelStatus, ModelVersionSpec, ModelVersionStatus
from litefleet_controller.resources.modelcheck import model_check
from litefleet_controller.resources.namespace import NAMESPACE
from litefleet_controller.resources.rollout import (
    AnalysisTemplateSpec,
    AnalysisTemplateStatus,
    ModelRolloutSpec,
    ModelRolloutStatus,
)
from litefleet_controller.resources.schema import compile_schema
from litefleet_controller.resources.structural import object_document


def _declared(kind: str, short_names: tuple[str, ...], spec: type[Part], status: type[Part], **more: Any) -> Kind:
    """A kind that models declare: one source for its schema, its checks and its OpenAPI."""
    singular = kind.lower()
    return Kind(
        kind,
        f"{singular}es" if singular.endswith("s") else f"{singular}s",
        singular,
        compile_schema(object_document(spec, status), embedded=True),
        model_check(spec, status),
        short_names,
        **more,
    )


_AGE = Column("Age", ".metadata.creationTimestamp", "date")

MODEL = _declared(
    "Model", ("mdl",), ModelSpec, ModelStatus,
    columns=(
        Column("Format", ".spec.source.format"),
        Column("Latest", ".status.latestVersion.name"),
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
        Column("Message", '.status.conditions[?(@.type=="Ready")].message', priority=1),
        _AGE,
    ),
)  # fmt: skip
MODEL_VERSION = _declared(
    "ModelVersion", ("mv",), ModelVersionSpec, ModelVersionStatus,
    columns=(
        Column("Model", ".spec.modelRef"),
        Column("Version", ".spec.version", "integer"),
        Column("Phase", ".status.phase"),
        Column("Message", ".status.message", priority=1),
        _AGE,
    ),
    selectable_fields=(".spec.modelRef", ".status.phase"),
    immutable_spec=True,
)  # fmt: skip
DEVICE_CLASS = _declared(
    "DeviceClass", ("dc",), DeviceClassSpec, DeviceClassStatus,
    columns=(
        Column("Runtime", ".spec.runtime"),
        Column("Variants", ".spec.variants"),
        Column("Devices", ".status.devices", "integer"),
        _AGE,
    ),
)  # fmt: skip
DEVICE = _declared(
    "Device", ("dev",), DeviceSpec, DeviceStatus,
    columns=(
        Column("Class", ".spec.class"),
        Column("Connection", ".status.connection"),
        Column("Version", ".status.slots[0].currentVersion"),
        Column("Phase", ".status.slots[0].phase"),
        Column("Code", ".status.slots[0].code", priority=1),
        Column("Message", ".status.slots[0].message", priority=1),
        _AGE,
    ),
    selectable_fields=(".spec.class", ".status.connection"),
)  # fmt: skip
MODEL_ROLLOUT = _declared(
    "ModelRollout", ("mro", "rollout", "rollouts"), ModelRolloutSpec, ModelRolloutStatus,
    columns=(
        Column("Model", ".spec.modelRef.name"),
        Column("Target", ".status.targetVersion"),
        Column("Phase", ".status.phase"),
        Column("Step", ".status.currentStepIndex", "integer"),
        Column("Message", ".status.message"),
        _AGE,
    ),
    selectable_fields=(".spec.modelRef.name", ".status.phase"),
)  # fmt: skip
ANALYSIS_TEMPLATE = _declared(
    "AnalysisTemplate", ("at",), AnalysisTemplateSpec, AnalysisTemplateStatus,
    columns=(Column("Min-Samples", ".spec.minSamples", "integer"), _AGE),
    label_names=False,
)  # fmt: skip

KINDS: tuple[Kind, ...] = (MODEL, MODEL_VERSION, DEVICE_CLASS, DEVICE, MODEL_ROLLOUT, ANALYSIS_TEMPLATE)


class Registry:
    """Kinds by kind and by plural. Namespaces and events are always there beside those that are listed."""

    def __init__(self, kinds: tuple[Kind, ...] = KINDS) -> None:
        self._kinds = kinds
        self._by_kind = {k.kind: k for k in (NAMESPACE, EVENT, *kinds)}
        self._by_plural = {k.plural: k for k in kinds}

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._kinds)

    def kind(self, kind: str) -> Kind | None:
        """The kind named e.g. `ModelRollout`."""
        return self._by_kind.get(kind)

    def plural(self, plural: str) -> Kind | None:
        """The kind served as e.g. `modelrollouts`."""
        return self._by_plural.get(plural)
