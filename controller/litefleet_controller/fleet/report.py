"""What a version of a model was made into, and why: candidates, picks, and how each answers. JSON-ready.

Put together from the ModelVersion's status, the examinations that were kept when its variants were made, and what
boards have measured with it since. What draws it (`litefleet model report`) needs nothing else.
"""

import contextlib
import re
from collections.abc import Iterable, Sequence

import msgspec

from litefleet_controller.artifacts.errors import BlobError
from litefleet_controller.artifacts.examination import Examination, decode
from litefleet_controller.artifacts.interface import Blobs
from litefleet_controller.fleet.errors import MissingError
from litefleet_controller.fleet.queries import summary
from litefleet_controller.resources.registry import MODEL, MODEL_VERSION
from litefleet_controller.store.errors import NotFoundError
from litefleet_controller.store.interface import FieldRequirement, Json, Key, Objects, Query
from litefleet_controller.telemetry.interface import Aggregate, Telemetry

_NUMBER = re.compile(r"v?([1-9][0-9]{0,8})")


class Reports:
    """Reads for people."""

    def __init__(self, objects: Objects, blobs: Blobs, telemetry: Telemetry) -> None:
        self._objects = objects
        self._blobs = blobs
        self._telemetry = telemetry

    async def report(self, namespace: str, model: str, version: str | None) -> Json:
        """The newest version's, or that of a number (`3`, `v3`) or a ModelVersion's name.

        Raises:
            fleet.errors.MissingError: no such model, or no such version of it.
        """
        body = await self._version(namespace, model, version)
        name = body["metadata"]["name"]
        measured = await self._telemetry.aggregate(namespace, model, version=name)
        entries = (body.get("status") or {}).get("classes") or []
        return composed(body, measured, await self._examinations(entries))

    async def _version(self, namespace: str, model: str, version: str | None) -> Json:
        of_model = FieldRequirement("spec.modelRef", True, model)
        page = await self._objects.list(Query(MODEL_VERSION.kind, namespace, fields=(of_model,)))
        found = {int(b["spec"]["version"]): b for b in (r.json() for r in page.records)}
        if not found:
            await self._check_model(namespace, model)
            raise MissingError(f"the model {model!r} has no version yet", hint=f"litefleet describe model {model}")
        if version is None:
            return found[max(found)]
        for number, body in found.items():
            as_number = _NUMBER.fullmatch(version)
            if version == body["metadata"]["name"] or (as_number and int(as_number[1]) == number):
                return body
        known = ", ".join(str(n) for n in sorted(found)[-10:])
        raise MissingError(
            f"the model {model!r} has no version {version!r}", field="version", hint=f"there are {known}"
        )

    async def _check_model(self, namespace: str, model: str) -> None:
        try:
            await self._objects.get(Key(MODEL.kind, namespace, model))
        except NotFoundError as e:
            raise MissingError(f"there is no model {model!r} in namespace {namespace!r}", field="name") from e

    async def _examinations(self, entries: Iterable[Json]) -> dict[str, Examination]:
        """By digest; those that are gone, or that another version wrote, are left out."""
        digests = {c["examination"] for e in entries for c in e.get("candidates") or [] if c.get("examination")}
        found = {}
        for digest in sorted(digests):
            with contextlib.suppress(BlobError, msgspec.MsgspecError, UnicodeDecodeError):
                found[digest] = decode(await self._blobs.get(digest))
        return found


def composed(body: Json, measured: Sequence[Aggregate], examinations: dict[str, Examination]) -> Json:
    """The report of a ModelVersion. `measured`: what boards did with it, an item a class."""
    spec, status = body["spec"], body.get("status") or {}
    by_class = {a.device_class: summary([a]) for a in measured}
    return {
        "model": spec["modelRef"],
        "version": body["metadata"]["name"],
        "number": spec["version"],
        "createdAt": body["metadata"].get("creationTimestamp"),
        "phase": status.get("phase", "Pending"),
        "message": status.get("message", ""),
        "source": spec["source"],
        "labels": (spec.get("output") or {}).get("labels") or [],
        "classes": [_class(entry, by_class.get(entry["deviceClass"])) for entry in status.get("classes") or []],
        "examinations": {digest: msgspec.to_builtins(e) for digest, e in examinations.items()},
    }


def _class(entry: Json, measured: Json | None) -> Json:
    variant = entry.get("variant") or {}
    return {
        "deviceClass": entry["deviceClass"],
        "state": entry["state"],
        "code": entry.get("code", ""),
        "message": entry.get("message", ""),
        "recipe": variant.get("recipe", ""),
        "artifact": variant.get("artifact"),
        "sourceAccuracy": variant.get("sourceAccuracy"),
        "notes": variant.get("notes") or [],
        "choice": entry.get("choice"),
        "isPrebuilt": "prebuilt" in (variant.get("target") or {}),
        "candidates": entry.get("candidates") or _only(variant),
        "measured": measured,
    }


def _only(variant: Json) -> list[Json]:
    """What a version that was converted before candidates were kept has to say."""
    if not variant:
        return []
    return [
        {
            "recipe": variant["recipe"],
            "verdict": "Picked",
            "why": "",
            **{k: variant.get(k) for k in ("digest", "sizeBytes", "agreement", "accuracy")},
        }
    ]
