"""From a variant back to where it comes from, and to who uses it."""

from typing import Any

import pytest

from litefleet_controller.fleet.errors import AmbiguousError, BadQueryError, MissingError
from litefleet_controller.fleet.explaining import Explanations
from litefleet_controller.store.interface import Key, Patch
from tests.controller.fleet.conftest import Fleet

Json = dict[str, Any]
MADE = "sha256:" + "ab" * 32
OTHER = "sha256:" + "ac" * 32


def variant(digest: str, artifact: str, statement: str | None) -> Json:
    digests = dict.fromkeys(("source", "recipe", "frozen", "evaluation"), "sha256:" + "1" * 64)
    return {
        "recipe": "int8", "artifact": artifact, "digest": digest, "sizeBytes": 7, "agreement": 0.99,
        "files": [{"name": "model.tflite", "digest": digest, "sizeBytes": 7}],
        **({"provenance": {"statement": statement, **digests}} if statement else {}),
    }  # fmt: skip


async def status(fleet: Fleet, kind: str, name: str, value: Json) -> None:
    await fleet.objects.patch(Key(kind, "default", name), Patch("merge", {"status": value}), subresource="status")


@pytest.fixture
async def explanations(fleet: Fleet) -> Explanations:
    """Two classes share a variant, a third has its own; two boards, a rollout, and a rollout of something else."""
    uri = "blob://sha256:" + "2" * 64
    spec = {"source": {"uri": uri, "format": "keras"}, "evaluation": {"uri": uri}, "output": {"labels": ["a", "b"]}}
    await fleet.create("ModelVersion", "digits-v1", {**spec, "modelRef": "digits", "version": 1})
    statement = await fleet.blobs.put(b'{"_type": "a statement"}')
    entries = {
        "pi": variant(MADE, "sha256:" + "d1" * 32, statement),
        "cam": variant(MADE, "sha256:" + "d2" * 32, statement),
        "old": variant(OTHER, "sha256:" + "d3" * 32, None),
    }
    listed = [{"deviceClass": c, "state": "Ready", "variant": v} for c, v in entries.items()]
    await status(
        fleet, "ModelVersion", "digits-v1", {"classes": [*listed, {"deviceClass": "none", "state": "Refused"}]}
    )
    for board, current in (("pi-1", "d1"), ("pi-2", "d3")):
        await fleet.create("Device", board, {"class": "pi"})
        slot = {
            "slot": "digits",
            "phase": "Updated",
            "current": f"sha256:{current * 32}",
            "desired": "sha256:" + "d1" * 32,
        }
        await status(fleet, "Device", board, {"slots": [slot]})
    for rollout, stable in (("line-a", "digits-v1"), ("line-b", "digits-v0")):
        await fleet.create("ModelRollout", rollout, {"modelRef": {"name": "digits"}})
        found = {"deviceClass": "pi", "state": "Complete", "stable": stable, "target": stable}
        await status(fleet, "ModelRollout", rollout, {"classes": [found]})
    return Explanations(fleet.objects, fleet.blobs)


@pytest.mark.parametrize("reference", [MADE, "abab" * 2, "sha256:ababab", "d1d1d1", "digits-v1/pi", "digits-v1/cam"])
async def test_every_name_of_a_variant_leads_to_its_statement_and_all_who_use_it(
    explanations: Explanations, reference: str
) -> None:
    found = await explanations.variant("default", reference)
    assert found["variant"]["digest"] == MADE
    assert found["statement"] == {"_type": "a statement"}
    assert [(u["version"], u["class"]) for u in found["uses"]] == [("digits-v1", "pi"), ("digits-v1", "cam")]
    assert (found["uses"][0]["boardsServing"], found["uses"][0]["boardsTold"]) == (1, 2)
    assert (found["uses"][0]["rollouts"], found["uses"][1]["rollouts"]) == (["line-a"], [])


async def test_what_was_made_before_provenance_was_kept_says_so(explanations: Explanations) -> None:
    found = await explanations.variant("default", "digits-v1/old")
    assert (found["statement"], found["provenance"]) == (None, None)
    assert "didn't record provenance" in found["statementTrouble"]


async def test_a_statement_that_is_gone_leaves_the_rest(explanations: Explanations, fleet: Fleet) -> None:
    whole = await explanations.variant("default", MADE)
    await fleet.blobs.delete(whole["provenance"]["statement"])
    found = await explanations.variant("default", MADE)
    assert "can't be read" in found["statementTrouble"]
    assert found["uses"] == whole["uses"]


@pytest.mark.parametrize(
    ("reference", "error", "said"),
    [
        ("d1d1d2", MissingError, "no variant is called 'd1d1d2'"),
        ("digits-v1/none", MissingError, "no variant is called"),
        ("digits-v2/pi", MissingError, "there are digits-v1/cam, digits-v1/old, digits-v1/pi"),
        ("ab", BadQueryError, "six digits"),
        ("digits-v1", BadQueryError, "or MODELVERSION/CLASS"),
        ("../../x", MissingError, "no variant"),
    ],
)
async def test_what_names_no_variant_is_refused(
    explanations: Explanations, reference: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as refused:
        await explanations.variant("default", reference)
    assert said in f"{refused.value}; {refused.value.hint}"  # type: ignore[attr-defined]


async def test_the_beginning_of_several_digests_is_refused_with_all_of_them(
    explanations: Explanations, fleet: Fleet
) -> None:
    record = (await fleet.objects.get(Key("ModelVersion", "default", "digits-v1"))).json()
    twin = "sha256:" + "ab" * 31 + "00"
    classes = record["status"]["classes"]
    classes[2]["variant"] |= {"digest": twin, "files": []}
    await status(fleet, "ModelVersion", "digits-v1", {"classes": classes})
    with pytest.raises(AmbiguousError) as refused:
        await explanations.variant("default", "ababab")
    assert MADE in str(refused.value)
    assert twin in str(refused.value)


async def test_another_tenants_variants_are_not_there(explanations: Explanations) -> None:
    with pytest.raises(MissingError):
        await explanations.variant("elsewhere", MADE)
