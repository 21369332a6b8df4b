"""The pick among proven variants, as a table."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litefleet_controller.convert.judging.choice import Candidate, Objective, choose

FLOAT32 = Candidate("float32", 4_000_000, 0.980, 1.0, hint_ms=10.0, board_ms=40.0)
FLOAT16 = Candidate("float16", 2_000_000, 0.980, 0.999, hint_ms=10.2, board_ms=40.5)
DYNAMIC = Candidate("dynamic-int8", 1_050_000, 0.979, 0.995, hint_ms=12.0, board_ms=22.0)
INT8 = Candidate("int8", 1_000_000, 0.960, 0.970, hint_ms=14.0, board_ms=12.0)
ALL = [FLOAT32, FLOAT16, DYNAMIC, INT8]


@pytest.mark.parametrize(
    ("objective", "recipe", "because"),
    [
        ("size", "int8", "the smallest of the 4 that hold the class's limits: 1000000 bytes; next is dynamic-int8"),
        ("accuracy", "dynamic-int8", "accuracy 0.979"),
        ("latency", "int8", "12 ms on the class's boards"),
    ],
)
def test_each_objective_picks_its_best(objective: Objective, recipe: str, because: str) -> None:
    choice = choose(ALL, objective)
    assert choice.recipe == recipe
    assert because in choice.reason
    assert choice.front[0] == recipe


def test_this_machines_latency_is_a_hint_until_two_candidates_ran_on_boards() -> None:
    choice = choose([replace(FLOAT32, board_ms=None), FLOAT16, replace(INT8, board_ms=None)], "latency")
    assert choice.recipe == "float16"  # as fast as float32 within 5 %, and half the size
    assert "on this machine, which is only a hint" in choice.reason


def test_a_hint_of_another_processor_decides_nothing_and_that_is_said() -> None:
    choice = choose([replace(c, board_ms=None) for c in ALL], "latency", hint_counts=False)
    assert (choice.recipe, choice.latency_from) == ("int8", "Nowhere")
    assert "haven't measured all of their latencies yet, and this machine's are of another processor" in choice.reason


def test_without_any_latency_the_smallest_is_taken_and_said_so() -> None:
    choice = choose([Candidate("a", 2, 0.9, 1.0), Candidate("b", 1, 0.9, 1.0)], "latency")
    assert (choice.recipe, choice.front) == ("b", ("b",))
    assert choice.reason.startswith("the class's boards haven't measured all of their latencies yet; so the smallest")


def test_boards_decide_once_they_know_two_and_what_they_dont_know_is_named() -> None:
    known = [FLOAT32, INT8, replace(FLOAT16, board_ms=None), replace(DYNAMIC, board_ms=None)]
    choice = choose(known, "latency", hint_counts=True)
    assert (choice.recipe, choice.latency_from) == ("int8", "Boards")
    assert choice.reason.endswith("12 ms on the class's boards; float16 and dynamic-int8 have not run on them yet")


def test_one_latency_from_boards_compares_nothing() -> None:
    choice = choose([FLOAT16, replace(INT8, board_ms=None)], "latency", hint_counts=False)
    assert choice.latency_from == "Nowhere"


def test_the_front_tells_what_would_be_next_by_the_objective() -> None:
    assert choose(ALL, "size").front == ("int8", "dynamic-int8", "float16", "float32")
    assert choose(ALL, "accuracy").front == ("dynamic-int8", "float32", "float16", "int8")


def test_an_only_candidate_needs_no_comparison() -> None:
    assert choose([INT8], "accuracy").reason == "int8 is the only one that holds the class's limits"


def test_what_is_beaten_in_everything_is_off_the_front() -> None:
    worse = Candidate("odd", 1_200_000, 0.95, 0.96, hint_ms=20.0, board_ms=50.0)
    choice = choose([*ALL, worse], "size")
    assert "odd" not in choice.front
    assert choice.beaten == {
        "odd": "int8 is smaller (1000000 bytes against 1200000) and higher in accuracy (0.960 against 0.950) and more often "
        "of the source's opinion (97.0% against 96.0%) and faster (12 ms against 50), and worse in nothing"
    }


def test_the_faster_of_two_that_answer_as_well_is_taken_and_that_is_said() -> None:
    choice = choose([FLOAT32, replace(FLOAT16, board_ms=50.0)], "accuracy")
    assert choice.recipe == "float32"
    assert choice.reason.endswith("of the 2 as good the fastest: 40 ms on the class's boards")


def test_what_is_no_classifier_is_compared_by_its_closeness_and_called_so() -> None:
    assert "closeness 0.979" in choose(ALL, "accuracy", quality="closeness").reason


def test_a_file_that_needs_less_memory_is_not_beaten_by_one_that_is_otherwise_the_same() -> None:
    light = replace(INT8, recipe="light", activations=100)
    assert set(choose([replace(INT8, activations=200), light], "size").front) == {"light"}


candidates = st.lists(
    st.builds(
        Candidate,
        st.uuids().map(str),
        st.integers(1, 5),
        st.sampled_from([0.9, 0.95, 0.951, 1.0]),
        st.sampled_from([0.9, 1.0]),
        st.integers(0, 2),
        st.sampled_from([None, 1.0, 1.04, 2.0]),
        st.sampled_from([None, 1.0, 1.04, 2.0]),
    ),
    min_size=1,
    max_size=6,
)


@given(candidates, st.sampled_from(["size", "accuracy", "latency"]))
def test_the_pick_is_on_the_front_and_doesnt_hang_on_the_order(given: list[Candidate], objective: Objective) -> None:
    choice = choose(given, objective)
    assert choice.recipe in choice.front
    picked = next(c for c in given if c.recipe == choice.recipe)
    again = choose(given[::-1], objective)
    twin = next(c for c in given if c.recipe == again.recipe)
    assert (picked.size, picked.accuracy, picked.agreement) == (twin.size, twin.accuracy, twin.agreement)
    assert set(choice.front) == set(again.front)
