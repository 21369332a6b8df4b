import pytest

from litefleet_controller.fleet.errors import BadQueryError, MissingError, VerbRefusedError
from litefleet_controller.store.errors import NotFoundError
from litefleet_controller.store.interface import Key, Patch
from tests.controller.fleet.conftest import Fleet, Json

KEY = Key("ModelRollout", "default", "line-a")
DIGEST = "sha256:" + "0" * 64
CONTENT = {"source": {"uri": f"blob://{DIGEST}"}, "evaluation": {"uri": f"blob://{DIGEST}"}}


async def rollout(fleet: Fleet) -> Json:
    return (await fleet.objects.get(KEY)).json()


@pytest.fixture
async def running(fleet: Fleet) -> Fleet:
    """A rollout of digits, of which v1 and v2 exist."""
    await fleet.create("ModelRollout", "line-a", {"modelRef": {"name": "digits"}})
    for number in (1, 2):
        await fleet.create("ModelVersion", f"digits-v{number}", {**CONTENT, "modelRef": "digits", "version": number})
    return fleet


async def set_history(fleet: Fleet, target: str, *entries: tuple[str, str, int]) -> None:
    history = [
        {"version": v, "deviceClass": "rpi-4", "outcome": o, "finishedAt": f"2026-03-01T12:{minute:02}:00Z"}
        for v, o, minute in entries
    ]
    patch = Patch("merge", {"status": {"targetVersion": target, "history": history}})
    await fleet.objects.patch(KEY, patch, subresource="status")


@pytest.mark.parametrize("verb", ["promote", "abort", "retry"])
async def test_a_request_is_written_with_a_new_id_and_who_asked(running: Fleet, verb: str) -> None:
    answer = await running.verbs.do(verb, "default", "line-a", by="ada")
    annotations = (await rollout(running))["metadata"]["annotations"]
    assert annotations == {"litefleet.dev/request": f"{verb} r1", "litefleet.dev/requested-by": "ada"}
    assert answer == {"message": f"{verb} of rollout 'line-a' is requested", "request": "r1"}


async def test_the_same_verb_again_is_another_request(running: Fleet) -> None:
    await running.verbs.do("promote", "default", "line-a", by="ada")
    again = await running.verbs.do("promote", "default", "line-a", by="bob")
    assert again["request"] == "r2"


async def test_a_request_leaves_the_spec_and_its_generation_alone(running: Fleet) -> None:
    before = await rollout(running)
    await running.verbs.do("abort", "default", "line-a", by="ada")
    after = await rollout(running)
    assert after["spec"] == before["spec"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


async def test_pause_and_resume_set_the_spec(running: Fleet) -> None:
    await running.verbs.do("pause", "default", "line-a", by="ada")
    assert (await rollout(running))["spec"]["paused"] is True
    await running.verbs.do("resume", "default", "line-a", by="ada")
    assert (await rollout(running))["spec"]["paused"] is False


async def test_pausing_what_is_paused_says_so_and_changes_nothing(running: Fleet) -> None:
    await running.verbs.do("pause", "default", "line-a", by="ada")
    before = await rollout(running)
    answer = await running.verbs.do("pause", "default", "line-a", by="ada")
    assert "already" in answer["message"]
    assert await rollout(running) == before


async def test_undo_goes_to_the_version_that_completed_before(running: Fleet) -> None:
    await set_history(running, "digits-v2", ("digits-v2", "Complete", 9), ("digits-v1", "Complete", 3))
    answer = await running.verbs.do("undo", "default", "line-a", by="ada")
    assert (await rollout(running))["spec"]["modelRef"]["version"] == "digits-v1"
    assert answer["message"] == "rollout 'line-a' goes to digits-v1, in its steps; its version was latest"


async def test_undo_skips_versions_that_did_not_complete(running: Fleet) -> None:
    await set_history(running, "digits-v3", ("digits-v1", "Complete", 1), ("digits-v2", "Aborted", 5))
    await running.verbs.do("undo", "default", "line-a", by="ada")
    assert (await rollout(running))["spec"]["modelRef"]["version"] == "digits-v1"


async def test_undo_without_an_earlier_version_is_refused(running: Fleet) -> None:
    await set_history(running, "digits-v1", ("digits-v1", "Complete", 1))
    with pytest.raises(VerbRefusedError) as refused:
        await running.verbs.do("undo", "default", "line-a", by="ada")
    assert refused.value.code == "NoEarlierVersion"


@pytest.mark.parametrize("given", ["1", "digits-v1"])
async def test_undo_takes_a_number_or_a_name(running: Fleet, given: str) -> None:
    await running.verbs.do("undo", "default", "line-a", by="ada", to_version=given)
    assert (await rollout(running))["spec"]["modelRef"]["version"] == "digits-v1"


async def test_undo_to_a_version_that_does_not_exist_changes_nothing(running: Fleet) -> None:
    before = await rollout(running)
    with pytest.raises(MissingError, match="digits-v9"):
        await running.verbs.do("undo", "default", "line-a", by="ada", to_version="9")
    assert await rollout(running) == before


async def test_undo_to_a_version_of_another_model_is_refused(running: Fleet) -> None:
    await running.create("ModelVersion", "faces-v1", {**CONTENT, "modelRef": "faces", "version": 1})
    with pytest.raises(BadQueryError, match="faces"):
        await running.verbs.do("undo", "default", "line-a", by="ada", to_version="faces-v1")


async def test_a_rollout_that_does_not_exist_is_not_found(running: Fleet) -> None:
    for verb in ("promote", "pause", "undo"):
        with pytest.raises(NotFoundError):
            await running.verbs.do(verb, "default", "nowhere", by="ada")


async def test_an_unknown_verb_names_those_there_are(running: Fleet) -> None:
    with pytest.raises(MissingError) as refused:
        await running.verbs.do("explode", "default", "line-a", by="ada")
    assert "promote" in refused.value.hint
