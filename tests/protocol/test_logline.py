"""A log entry as one printable line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litefleet_protocol.logline import text

VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, "swapped"),
        ({"slot": "digits", "gap_ms": 1.25, "n": 3}, "swapped slot=digits gap_ms=1.25 n=3"),
        ({"message": "two words", "empty": ""}, 'swapped message="two words" empty=""'),
        ({"hung": False, "digest": None}, "swapped hung=false digest=null"),
        ({"at": 1772000000.25}, "swapped at=1772000000.250"),
        ({"name": "Gerät"}, "swapped name=Gerät"),
    ],
)
def test_fields_follow_the_event(fields, shown):
    assert text("swapped", fields) == shown


@given(event=st.text(), fields=st.dictionaries(st.text(), VALUES))
def test_nothing_reaches_the_terminal_that_it_would_act_on(event, fields):
    assert text(event, fields).isprintable()
