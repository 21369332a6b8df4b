"""Whose latency may stand for a class's boards."""

from dataclasses import replace

import pytest

from litefleet_controller.convert.latency import MIN_INFERENCES, Seen, form_of, hint_of, same_machine, seen_of
from litefleet_protocol.tensors import Signature, TensorSpec
from tests.controller.convert.figures import HINT

SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", shape=(1, 8, 8, 1), dtype="int8"),),
    outputs=(TensorSpec(name="y", shape=(1, 10), dtype="int8"),),
)
SEEN = Seen("int8", "digits-v1", 100_000, form_of(SIGNATURE), 1.0, 2.0, 3.0, 5_000, 12)
OTHER = Signature(inputs=(TensorSpec(name="x", shape=(1, 9, 9, 1), dtype="int8"),), outputs=SIGNATURE.outputs)


def test_a_hint_says_quantiles_and_where_they_were_measured() -> None:
    hint = hint_of([0.001 * n for n in range(101)])
    assert (hint.p50_ms, hint.p99_ms, hint.inferences) == (50.0, 99.0, 101)
    assert hint.machine
    assert hint.processor


@pytest.mark.parametrize(
    ("machines", "same"),
    [(["x86_64"], True), (["amd64"], True), (["aarch64"], False), (["x86_64", "armv7l"], False), ([], False)],
)
def test_a_hint_is_for_boards_that_all_say_they_are_of_its_kind(machines: list[str], same: bool) -> None:
    assert same_machine(HINT, machines) == same


def test_a_retrained_model_takes_as_long_as_the_one_before() -> None:
    assert seen_of("int8", 100_900, SIGNATURE, [SEEN]) == SEEN


@pytest.mark.parametrize(
    ("recipe", "size", "signature"),
    [("float16", 100_000, SIGNATURE), ("int8", 110_000, SIGNATURE), ("int8", 100_000, OTHER)],
)
def test_another_recipe_or_network_has_to_be_measured_anew(recipe: str, size: int, signature: Signature) -> None:
    assert seen_of(recipe, size, signature, [SEEN]) is None


def test_a_handful_of_inferences_says_nothing_and_the_newest_that_do_count() -> None:
    few = replace(SEEN, version="digits-v3", inferences=MIN_INFERENCES - 1)
    newest, oldest = replace(SEEN, version="digits-v2"), SEEN
    assert seen_of("int8", 100_000, SIGNATURE, [few, newest, oldest]) == newest
