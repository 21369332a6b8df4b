"""Where a variant comes from and who uses it: from the file on a board back to what a person pushed. JSON-ready.

A variant is asked for by a digest (its own, its artifact's, or one of its files'), by the beginning of one that no
other has, or as MODELVERSION/CLASS. Two versions, or two classes, may share one variant: it is made once,
and used by both.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from litefleet_controller.artifacts.errors import BlobError
from litefleet_controller.artifacts.interface import Blobs
from litefleet_controller.fleet.errors import AmbiguousError, BadQueryError, MissingError
from litefleet_controller.resources.registry import DEVICE, MODEL_ROLLOUT, MODEL_VERSION
from litefleet_controller.store.interface import FieldRequirement, Json, Objects, Query

_PREFIX = "sha256:"
_DIGITS = re.compile(r"[0-9a-f]{6,64}")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Use:
    """One class of one version that has a variant."""

    version: Json
    entry: Json

    @property
    def name(self) -> str:
        """As a person writes it."""
        return f"{self.version['metadata']['name']}/{self.entry['deviceClass']}"

    @property
    def variant(self) -> Json:
        """As the status has it."""
        found: Json = self.entry["variant"]
        return found


class Explanations:
    """Reads for people."""

    def __init__(self, objects: Objects, blobs: Blobs) -> None:
        self._objects = objects
        self._blobs = blobs

    async def variant(self, namespace: str, reference: str) -> Json:
        """The variant's numbers, its provenance and the whole statement, and each version and class that uses it.

        Raises:
            MissingError: no variant is called that.
            AmbiguousError: several are.
            BadQueryError: it is neither form of a reference.
        """
        page = await self._objects.list(Query(MODEL_VERSION.kind, namespace))
        found = chosen(list(uses(r.json() for r in page.records)), reference)
        variant = found[0].variant
        statement, trouble = await self._statement(variant)
        return {
            "variant": {k: v for k, v in variant.items() if k not in ("artifact", "provenance", "cached", "seconds")},
            "provenance": variant.get("provenance"),
            "statement": statement,
            "statementTrouble": trouble,
            "uses": [await self._use(namespace, use) for use in found],
        }

    async def _statement(self, variant: Json) -> tuple[Any, str]:
        """The document, or why there is none."""
        recorded = variant.get("provenance")
        if not recorded:
            return None, "it was made by a version of litefleet that didn't record provenance"
        try:
            return json.loads(await self._blobs.get(recorded["statement"])), ""
        except BlobError as e:
            return None, f"the statement can't be read: {e}"

    async def _use(self, namespace: str, use: Use) -> Json:
        spec, name = use.version["spec"], use.version["metadata"]["name"]
        artifact = use.variant["artifact"]
        devices = await self._objects.list(
            Query(DEVICE.kind, namespace, fields=(FieldRequirement("spec.class", True, use.entry["deviceClass"]),))
        )
        slots = [
            slot
            for record in devices.records
            for slot in (record.json().get("status") or {}).get("slots") or []
            if slot["slot"] == spec["modelRef"]
        ]
        rollouts = await self._objects.list(
            Query(
                MODEL_ROLLOUT.kind, namespace, fields=(FieldRequirement("spec.modelRef.name", True, spec["modelRef"]),)
            )
        )
        return {
            "model": spec["modelRef"],
            "version": name,
            "class": use.entry["deviceClass"],
            "artifact": artifact,
            "choice": use.entry.get("choice"),
            "source": spec["source"],
            "boardsServing": sum(slot.get("current") == artifact for slot in slots),
            "boardsTold": sum(slot.get("desired") == artifact for slot in slots),
            "rollouts": [r.key.name for r in rollouts.records if _concerns(r.json(), name, use.entry["deviceClass"])],
        }


def uses(versions: Iterable[Json]) -> Iterator[Use]:
    """Every variant of these ModelVersions."""
    for version in versions:
        for entry in (version.get("status") or {}).get("classes") or []:
            if entry.get("variant"):
                yield Use(version, entry)


def chosen(known: Sequence[Use], reference: str) -> list[Use]:
    """The uses of the one variant that `reference` means.

    Raises: MissingError, AmbiguousError, BadQueryError.
    """
    if "/" in reference:
        found = [use for use in known if use.name == reference]
        hint = f"there are {_listed(use.name for use in known)}" if known else "no version has a variant yet"
    else:
        digits = reference.removeprefix(_PREFIX)
        if _DIGITS.fullmatch(digits) is None:
            raise BadQueryError(
                "reference", f"{reference[:80]!r}: name six digits of a digest at least, or MODELVERSION/CLASS"
            )
        found = [use for use in known if any(d.startswith(_PREFIX + digits) for d in _digests(use.variant))]
        hint = "litefleet get modelversions -o yaml shows their digests"
    digests = sorted({use.variant["digest"] for use in found})
    if not digests:
        raise MissingError(f"no variant is called {reference!r}", field="reference", hint=hint)
    if len(digests) > 1:
        raise AmbiguousError(
            f"{reference!r} is the beginning of {len(digests)} variants' digests: {_listed(digests)}", field="reference"
        )
    return [use for use in known if use.variant["digest"] == digests[0]]


def _digests(variant: Json) -> list[str]:
    return [variant["digest"], variant["artifact"], *(f["digest"] for f in variant.get("files") or [])]


def _concerns(rollout: Json, version: str, device_class: str) -> bool:
    status = rollout.get("status") or {}
    return any(
        version in (entry.get("stable"), entry.get("target"))
        for entry in status.get("classes") or []
        if entry.get("deviceClass") == device_class
    )


def _listed(names: Iterable[str]) -> str:
    every = sorted(names)
    shown = ", ".join(every[:_SHOWN])
    return f"{shown} and {len(every) - _SHOWN} more" if len(every) > _SHOWN else shown
