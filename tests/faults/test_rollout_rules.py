"""The rules find what they are there for."""

import pytest

from tests.faults.audit import Transaction
from tests.faults.rollout_rules import broken_rules, wrong_answers

V = "digits-v2"


def transaction(step, *boards, at=0, version=V, epochs=()):
    status = {"targetVersion": V, "currentStepIndex": step, "stepStartedAt": f"2026-01-01T00:00:{at:02}Z"}
    return Transaction(dict.fromkeys(boards, version), status, epochs)


GOOD = [
    transaction(0, "a"), transaction(1, at=1), transaction(2, at=2), transaction(3, "b", at=3, epochs=(2,)), transaction(4, at=4)
]  # fmt: skip


def test_a_rollout_by_the_rules_breaks_none():
    assert broken_rules(GOOD, V, 2) == []


@pytest.mark.parametrize(
    ("place", "instead", "said"),
    [
        (1, [], "went through the steps [0, 2, 3, 4]"),
        (0, [transaction(0, "a", "b")], "2 of 2 boards commanded at step 0, which allows 1"),
        (0, [Transaction({"a": V}, None, ()), transaction(0)], "1 of 2 boards commanded at step None, which allows 0"),
        (2, [transaction(2, "a", version="digits-v1", at=2)], "a was commanded to digits-v1"),
        (2, [transaction(2, at=1)], "paused from 2026-01-01T00:00:01Z to 2026-01-01T00:00:01Z only"),
        (4, [transaction(4, at=4, epochs=(2,))], "epochs did not rise: [2, 2]"),
    ],
)
def test_each_rule_is_missed(place, instead, said):
    assert said in broken_rules([*GOOD[:place], *instead, *GOOD[place + 1 :]], V, 2)


def rows(*versions):
    return [{"seq": n, "version": version} for n, version in enumerate(versions)]


def test_answers_that_change_over_once_are_right():
    assert wrong_answers(rows("v1", "v1", "v2"), "v1", "v2") == []


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (rows("v1", "v2", "v1", "v2"), "served ['v1', 'v2', 'v1', 'v2']"),
        (rows("v1", "v3", "v2"), "served ['v1', 'v3', 'v2']"),
        ([rows("v1")[0], {"seq": 2, "version": "v2"}], "answers between 0 and 2 are missing"),
        ([*rows("v1", "v2"), {"seq": 2, "error": "NotReady"}], "answer 2 failed: NotReady"),
    ],
)
def test_answers_that_were_lost_or_wrong_are_told(answers, said):
    assert said in wrong_answers(answers, "v1", "v2")
