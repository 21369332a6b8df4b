"""The pick among proven variants, as a table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litefleet_controller.convert.choice import Candidate, Objective, choose

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


def test_this_machines_latency_is_a_hint_until_every_candidate_ran_on_boards() -> None:
    unknown = Candidate("int8", INT8.size, INT8.accuracy, INT8.agreement, hint_ms=14.0)
    choice = choose([FLOAT32, FLOAT16, unknown], "latency")
    assert choice.recipe == "float16"  # as fast as float32 within 5 %, and half the size
    assert "on this machine, which is only a hint" in choice.reason


def test_without_any_latency_the_smallest_is_taken_and_said_so() -> None:
    choice = choose([Candidate("a", 2, 0.9, 1.0), Candidate("b", 1, 0.9, 1.0)], "latency")
    assert (choice.recipe, choice.front) == ("b", ("b",))
    assert choice.reason.startswith("nobody has measured latencies yet")


def test_an_only_candidate_needs_no_comparison() -> None:
    assert choose([INT8], "accuracy").reason == "int8 is the only one that holds the class's limits"


def test_what_is_beaten_in_everything_is_off_the_front() -> None:
    worse = Candidate("odd", 1_200_000, 0.95, 0.96, hint_ms=20.0, board_ms=50.0)
    assert "odd" not in choose([*ALL, worse], "size").front


candidates = st.lists(
    st.builds(
        Candidate,
        st.uuids().map(str),
        st.integers(1, 5),
        st.sampled_from([0.9, 0.95, 0.951, 1.0]),
        st.sampled_from([0.9, 1.0]),
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
