"""What a variant was made of, by what and when: an in-toto statement with SLSA's provenance, version 1. Pure.

https://slsa.dev/spec/v1.0/provenance and https://github.com/in-toto/attestation. Of a variant that came from the cache
it says what made it then. Times and durations stand here and nowhere in an artifact, whose digest must not depend on
them.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from litefleet_controller.convert.cache import (
    AdoptedEntry,
    AdoptedKey,
    FrozenEntry,
    FrozenKey,
    VariantEntry,
    VariantKey,
    key_hash,
)
from litefleet_controller.convert.interface import ModelFile, Provenance
from litefleet_controller.convert.workers.process import DETERMINISTIC
from litefleet_controller.resources.recipe import Recipe

BUILD_TYPE = "https://litefleet.dev/conversion/v1"
ADOPTION_TYPE = "https://litefleet.dev/adoption/v1"
BUILDER = "https://litefleet.dev/converter/local"
_STATEMENT, _PREDICATE = "https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1"
_PREFIX = "sha256:"
Json = dict[str, Any]


def recipe_digest(how: Recipe) -> str:
    """Names what a recipe says, whatever it is called: `sha256:` of its canonical JSON, defaults written out."""
    return _PREFIX + hashlib.sha256(msgspec.json.encode(how, order="sorted")).hexdigest()


def recorded(
    key: VariantKey, entry: VariantEntry, statement: str, pushed: Mapping[str, str] | None = None
) -> Provenance:
    """What a status has room for. `statement`: the digest of the whole; `pushed`: see there."""
    pushed = pushed or {}
    return Provenance(
        statement=statement,
        source=key.frozen.source,
        recipe=recipe_digest(key.how),
        frozen=entry.frozen,
        evaluation=pushed.get(key.frozen.evaluation, key.frozen.evaluation),
        calibration=pushed.get(key.calibration, key.calibration) if key.calibration and entry.ranges else None,
        training=pushed.get(key.training.digest, key.training.digest) if key.training is not None else None,
        started=min((s.started for s in entry.steps), default=None),
        finished=max((s.finished for s in entry.steps), default=None),
    )


def adoption_statement(
    key: AdoptedKey,
    entry: AdoptedEntry,
    source: FrozenEntry,
    versions: dict[str, str],
    pushed: Mapping[str, str],
) -> bytes:
    """The document about a file that was compiled elsewhere: what it was checked with, by what and when.

    Nothing is said of how it was made but what it says itself. `pushed`: see `statement`.
    """
    evaluation = key.frozen.evaluation
    materials = [
        ("prebuilt", key.file),
        ("source", key.frozen.source),
        ("evaluation", pushed.get(evaluation, evaluation)),
    ]
    materials += [("evaluation, as arrays", evaluation)] if evaluation in pushed else []
    byproducts = [
        ("frozen.tflite", source.model),
        ("golden.npz", entry.golden),
        (f"compared with: {key.twin_recipe}", key.twin),
    ]
    steps = sorted((source.step, entry.step), key=lambda s: s.started)
    document = {
        "_type": _STATEMENT,
        "subject": [_material(file.name, file.digest) for file in entry.files],
        "predicateType": _PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": ADOPTION_TYPE,
                "externalParameters": _chosen(key.frozen)
                | ({"tolerance": key.tolerance} if key.tolerance is not None else {}),
                "internalParameters": {"saysOfItself": msgspec.to_builtins(entry.findings), "wasRun": False},
                "resolvedDependencies": [_material(name, digest) for name, digest in materials],
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": versions},
                "metadata": {
                    "invocationId": key_hash(key),
                    "startedOn": steps[0].started,
                    "finishedOn": max(s.finished for s in steps),
                    "litefleet_steps": [msgspec.to_builtins(step) for step in steps],
                },
                "byproducts": [_material(name, digest) for name, digest in byproducts if digest],
            },
        },
    }
    return msgspec.json.encode(msgspec.to_builtins(document), order="sorted")


def adopted(
    key: AdoptedKey, entry: AdoptedEntry, source: FrozenEntry, statement: str, pushed: Mapping[str, str]
) -> Provenance:
    """What a status has room for, of a file that was compiled elsewhere."""
    return Provenance(
        statement=statement,
        source=key.frozen.source,
        recipe=None,
        frozen=source.model,
        evaluation=pushed.get(key.frozen.evaluation, key.frozen.evaluation),
        calibration=None,
        training=None,
        started=min(source.step.started, entry.step.started),
        finished=max(source.step.finished, entry.step.finished),
        prebuilt=key.file,
    )


def statement(
    key: VariantKey,
    entry: VariantEntry,
    files: Sequence[ModelFile],
    tools: dict[str, str],
    pushed: Mapping[str, str] | None = None,
) -> bytes:
    """The canonical document (JSON, keys sorted) about `files`, which `tools` made; the same each time.

    `files` are the entry's own, or what an accelerator's compiler made of them. `pushed`: data sets that were made of
    something else, a folder of images, to the digest of that.
    """
    steps = sorted(entry.steps, key=lambda s: s.started)
    document = {
        "_type": _STATEMENT,
        "subject": [_material(file.name, file.digest) for file in files],
        "predicateType": _PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": _parameters(key),
                "internalParameters": {
                    "recipe": msgspec.to_builtins(key.how),
                    "calibrationSamples": key.calibration_samples,
                    **({"training": msgspec.to_builtins(key.training)} if key.training is not None else {}),
                    **({"trainingSeed": seed} if (seed := _seed(entry)) is not None else {}),
                    "environment": DETERMINISTIC,
                },
                "resolvedDependencies": _materials(key, entry, pushed or {}),
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": {**entry.builder, **tools}},
                "metadata": {
                    "invocationId": key_hash(key),
                    **({"startedOn": steps[0].started, "finishedOn": max(s.finished for s in steps)} if steps else {}),
                    "litefleet_steps": [msgspec.to_builtins(step) for step in steps],
                },
                "byproducts": _byproducts(entry, files),
            },
        },
    }
    return msgspec.json.encode(msgspec.to_builtins(document), order="sorted")


def _parameters(key: VariantKey) -> Json:
    """What a person chose; what isn't given is left out."""
    goal = {"goal": msgspec.to_builtins(key.goal)} if key.goal is not None else {}
    tolerance = {"tolerance": key.measure.tolerance} if key.measure.metric == "closeness" else {}
    return {"recipe": key.recipe, **_chosen(key.frozen), **tolerance, **goal}


def _chosen(frozen: FrozenKey) -> Json:
    given = msgspec.to_builtins(frozen)
    return {k: v for k, v in given.items() if k not in ("source", "evaluation", "toolchain") and v}


def _seed(entry: VariantEntry) -> int | None:
    return entry.pruned.pruned.seed if entry.pruned is not None else None


def _materials(key: VariantKey, entry: VariantEntry, pushed: Mapping[str, str]) -> list[Json]:
    sets = {"evaluation": key.frozen.evaluation}
    if key.calibration is not None and entry.ranges:
        sets["calibration"] = key.calibration
    if key.training is not None:
        sets["training"] = key.training.digest
    return [
        _material("source", key.frozen.source),
        _material(f"recipe {key.recipe}", recipe_digest(key.how)),
        *(_material(name, pushed.get(digest, digest)) for name, digest in sets.items()),
        *(_material(f"{name}, as arrays", digest) for name, digest in sets.items() if digest in pushed),
    ]


def _byproducts(entry: VariantEntry, files: Sequence[ModelFile]) -> list[Json]:
    made = [
        ("frozen.tflite", entry.frozen),
        ("pruned.tflite", entry.pruned_model),
        ("ranges.json", entry.ranges),
        ("golden.npz", entry.golden),
    ]
    others = [(f"before compilation: {f.name}", f.digest) for f in entry.files if f not in files]
    return [_material(name, digest) for name, digest in (*made, *others) if digest]


def _material(name: str, digest: str) -> Json:
    return {"name": name, "digest": {"sha256": digest.removeprefix(_PREFIX)}}
