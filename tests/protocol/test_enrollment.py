"""Tokens survive being copied; what isn't a token is refused with a hint."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litefleet_protocol.codes import Code
from litefleet_protocol.enrollment import EnrollmentToken, decode_token, encode_token
from litefleet_protocol.errors import ProtocolError

TOKEN = EnrollmentToken(url="https://fleet.example:7443", ca_sha256="ab" * 32, secret="s" * 43)


@given(
    st.builds(EnrollmentToken, url=st.text(max_size=80), ca_sha256=st.text(max_size=64), secret=st.text(max_size=60))
)
def test_a_token_round_trips_as_one_shell_word(token: EnrollmentToken) -> None:
    text = encode_token(token)
    assert text.replace(".", "").replace("-", "").replace("_", "").isalnum()
    assert decode_token(f"  {text}\n") == token


@given(st.text(max_size=200))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError) as e:
        decode_token(text)
    assert e.value.code == Code.TOKEN_INVALID
    assert e.value.hint


@given(st.integers(1, 150))
def test_a_token_cut_short_is_refused(length: int) -> None:
    text = encode_token(TOKEN)
    with pytest.raises(ProtocolError):
        decode_token(text[: max(0, len(text) - length)])
