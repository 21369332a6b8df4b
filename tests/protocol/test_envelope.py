"""Only what a pinned key signed, as the type it was signed as, is unsealed."""

import base64
import hashlib
import hmac

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from litefleet_protocol import envelope
from litefleet_protocol.codes import Code
from litefleet_protocol.envelope import PayloadType
from litefleet_protocol.errors import ProtocolError


class HmacKey:
    """A signer and verifier with symmetric keys: enough to prove the envelope, whose port it implements."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.key_id = hashlib.sha256(secret).hexdigest()

    def sign(self, data: bytes) -> bytes:
        return hmac.digest(self._secret, data, "sha512")

    def verify(self, key_id: str, signature: bytes, data: bytes) -> bool:
        return key_id == self.key_id and hmac.compare_digest(signature, self.sign(data))


KEY = HmacKey(b"ours")
OTHER = HmacKey(b"theirs")


def unseal(kind: PayloadType, data: bytes) -> bytes:
    return envelope.unseal(kind, data, KEY, max_bytes=100_000)


@given(st.binary(max_size=500), st.sampled_from(PayloadType))
def test_what_was_sealed_is_unsealed(body: bytes, kind: PayloadType) -> None:
    assert unseal(kind, envelope.seal(kind, body, [KEY])) == body


def test_one_of_several_signatures_suffices() -> None:
    assert unseal(PayloadType.EPOCH, envelope.seal(PayloadType.EPOCH, b"x", [OTHER, KEY])) == b"x"


@pytest.mark.parametrize("signers", [[], [OTHER]])
def test_without_a_pinned_signature_it_is_refused(signers: list[HmacKey]) -> None:
    with pytest.raises(ProtocolError) as e:
        unseal(PayloadType.DESIRED, envelope.seal(PayloadType.DESIRED, b"x", signers))
    assert e.value.code == Code.BAD_SIGNATURE


def test_a_signed_epoch_does_not_pass_for_desired_state() -> None:
    sealed = envelope.seal(PayloadType.EPOCH, b"x", [KEY])
    renamed = msgspec.json.decode(sealed)
    renamed["payloadType"] = str(PayloadType.DESIRED)
    for data in (sealed, msgspec.json.encode(renamed)):
        with pytest.raises(ProtocolError) as e:
            unseal(PayloadType.DESIRED, data)
        assert e.value.code == Code.BAD_SIGNATURE


@given(st.binary(min_size=1, max_size=200), st.data())
def test_another_body_under_the_signature_is_refused(body: bytes, data: st.DataObject) -> None:
    changed = data.draw(st.binary(max_size=200).filter(lambda b: b != body))
    sealed = msgspec.json.decode(envelope.seal(PayloadType.DESIRED, body, [KEY]))
    sealed["payload"] = base64.b64encode(changed).decode()
    with pytest.raises(ProtocolError) as e:
        unseal(PayloadType.DESIRED, msgspec.json.encode(sealed))
    assert e.value.code == Code.BAD_SIGNATURE


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        unseal(PayloadType.DESIRED, data)


def test_the_limit_is_checked_first() -> None:
    with pytest.raises(ProtocolError) as e:
        envelope.parse(b"{" * 11, max_bytes=10)
    assert e.value.code == Code.TOO_LARGE


def test_pae_is_that_of_the_dsse_specification() -> None:
    # The example of the specification's protocol.md.
    assert (
        envelope.pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
