import asyncio

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from litefleet_controller.fleet.errors import BadQueryError, DeviceTakenError, MissingError
from litefleet_controller.resources.admission import InvalidError
from litefleet_controller.resources.namespace import manifest
from litefleet_controller.store.errors import AlreadyExistsError, NamespaceNotFoundError
from litefleet_controller.store.interface import Key, Query
from litefleet_protocol.codes import Code
from litefleet_protocol.enrollment import decode_token
from litefleet_protocol.errors import ProtocolError
from tests.controller.fleet.conftest import Board, Fleet


async def test_a_board_gets_a_certificate_in_its_name_and_all_it_needs(fleet: Fleet) -> None:
    await fleet.add_class()
    board = Board("pi-01")
    answer = await fleet.enrollment.enroll(board.request(await fleet.token(), site="line-a"), fleet.clock())

    certificate = x509.load_pem_x509_certificate(answer.certificate.encode())
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "pi-01"
    assert certificate.public_key() == board.key.public_key()
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(answer.ca.encode()))
    assert (answer.namespace, answer.device_class) == ("default", "rpi-4")
    assert (answer.broker_host, answer.broker_port) == ("broker.example", 8883)
    assert answer.signing_keys


async def test_enrolling_makes_the_device_with_its_class_and_labels(fleet: Fleet) -> None:
    await fleet.add_class()
    await fleet.enrollment.enroll(Board("pi-01").request(await fleet.token(), site="line-a"), fleet.clock())

    record = await fleet.objects.get(Key("Device", "default", "pi-01"))
    assert record.labels == {"site": "line-a"}
    assert record.json()["spec"] == {"class": "rpi-4"}


async def test_the_broker_lets_the_board_in_before_it_gets_its_answer(fleet: Fleet) -> None:
    await fleet.add_class()
    await fleet.enrollment.enroll(Board("pi-01").request(await fleet.token()), fleet.clock())
    assert fleet.granted == [("pi-01", "default")]


async def test_a_failure_in_the_middle_is_repaired_by_the_same_request(fleet: Fleet) -> None:
    await fleet.add_class()
    request = Board("pi-01").request(await fleet.token())
    fleet.refuse_grants = True
    with pytest.raises(ConnectionError):
        await fleet.enrollment.enroll(request, fleet.clock())

    fleet.refuse_grants = False
    fleet.clock.advance(60)
    assert (await fleet.enrollment.enroll(request, fleet.clock())).device == "pi-01"


async def test_a_token_lets_one_board_in(fleet: Fleet) -> None:
    await fleet.add_class()
    secret = await fleet.token()
    await fleet.enrollment.enroll(Board("pi-01").request(secret), fleet.clock())
    with pytest.raises(ProtocolError) as refused:
        await fleet.enrollment.enroll(Board("pi-02").request(secret), fleet.clock())
    assert refused.value.code == Code.TOKEN_USED


async def test_an_unknown_class_is_refused_naming_those_there_are(fleet: Fleet) -> None:
    await fleet.add_class("rpi-4")
    await fleet.add_class("gateway")
    with pytest.raises(MissingError) as refused:
        await fleet.enrollment.enroll(Board("pi-01").request(await fleet.token(), "rpi-5"), fleet.clock())
    assert refused.value.hint == "there are gateway, rpi-4"
    assert refused.value.field == "deviceClass"


async def test_a_wrong_class_can_be_mended_with_the_same_token_and_key(fleet: Fleet) -> None:
    await fleet.add_class()
    board, secret = Board("pi-01"), await fleet.token()
    with pytest.raises(MissingError):
        await fleet.enrollment.enroll(board.request(secret, "rpi-5"), fleet.clock())
    assert (await fleet.enrollment.enroll(board.request(secret), fleet.clock())).device_class == "rpi-4"


async def test_a_class_of_another_namespace_does_not_count(fleet: Fleet) -> None:
    await fleet.objects.create(manifest("other"))
    await fleet.add_class(namespace="other")
    with pytest.raises(MissingError, match="namespace 'default'"):
        await fleet.enrollment.enroll(Board("pi-01").request(await fleet.token()), fleet.clock())


async def test_a_board_re_enrolls_with_a_fresh_token_and_a_new_key(fleet: Fleet) -> None:
    await fleet.add_class("rpi-4")
    await fleet.add_class("gateway")
    await fleet.enrollment.enroll(Board("pi-01").request(await fleet.token(), site="a", rack="1"), fleet.clock())
    again = Board("pi-01")
    answer = await fleet.enrollment.enroll(again.request(await fleet.token(), "gateway", site="b"), fleet.clock())

    assert x509.load_pem_x509_certificate(answer.certificate.encode()).public_key() == again.key.public_key()
    record = await fleet.objects.get(Key("Device", "default", "pi-01"))
    assert record.labels == {"site": "b", "rack": "1"}
    assert record.json()["spec"]["class"] == "gateway"


async def test_a_name_taken_in_another_namespace_is_refused(fleet: Fleet) -> None:
    await fleet.objects.create(manifest("other"))
    await fleet.add_class()
    await fleet.add_class(namespace="other")
    await fleet.enrollment.enroll(Board("pi-01").request(await fleet.token()), fleet.clock())
    with pytest.raises(DeviceTakenError) as refused:
        await fleet.enrollment.enroll(Board("pi-01").request(await fleet.token("other")), fleet.clock())
    # Not which one: that is another tenant's business.
    assert "default" not in str(refused.value)
    assert fleet.granted == [("pi-01", "default")]


async def test_two_namespaces_that_claim_one_name_at_once_get_one_device(fleet: Fleet) -> None:
    await fleet.objects.create(manifest("other"))
    await fleet.add_class()
    await fleet.add_class(namespace="other")
    tokens = [await fleet.token(), await fleet.token("other")]
    outcomes = await asyncio.gather(
        *(fleet.enrollment.enroll(Board("pi-01").request(t), fleet.clock()) for t in tokens), return_exceptions=True
    )
    assert sum(isinstance(o, DeviceTakenError) for o in outcomes) == 1
    assert len((await fleet.objects.list(Query("Device"))).records) == 1


async def test_a_device_that_is_being_deleted_is_not_taken_in(fleet: Fleet) -> None:
    await fleet.add_class()
    await fleet.enrollment.enroll(Board("pi-01").request(await fleet.token()), fleet.clock())
    key = Key("Device", "default", "pi-01")

    def hold(device: dict) -> dict:
        device["metadata"]["finalizers"] = ["test/hold"]
        return device

    await fleet.objects.mutate(key, hold)
    await fleet.objects.delete(key)
    with pytest.raises(AlreadyExistsError, match="being deleted"):
        await fleet.enrollment.enroll(Board("pi-01").request(await fleet.token()), fleet.clock())


async def test_a_bad_csr_costs_no_token(fleet: Fleet) -> None:
    await fleet.add_class()
    secret = await fleet.token()
    foreign = Board("pi-02").request(secret)
    with pytest.raises(ProtocolError) as refused:
        await fleet.enrollment.enroll(type(foreign)(**{**_fields(foreign), "device": "pi-01"}), fleet.clock())
    assert refused.value.code == Code.BAD_CSR
    await fleet.enrollment.enroll(Board("pi-01").request(secret), fleet.clock())


async def test_bad_labels_cost_no_token_and_are_named(fleet: Fleet) -> None:
    await fleet.add_class()
    secret = await fleet.token()
    with pytest.raises(InvalidError) as refused:
        await fleet.enrollment.enroll(Board("pi-01").request(secret, site="line a!"), fleet.clock())
    assert [c.field for c in refused.value.causes] == ["labels.site"]
    await fleet.enrollment.enroll(Board("pi-01").request(secret), fleet.clock())


async def test_a_token_carries_the_address_and_the_hash_of_the_ca(fleet: Fleet) -> None:
    text = await fleet.enrollment.create_token(
        "default", ttl_s=60, url="https://10.0.0.5:7443/", by="ada", now=fleet.clock()
    )
    token = decode_token(text)
    assert token.url == "https://10.0.0.5:7443"
    assert len(token.ca_sha256) == 64


async def test_a_token_for_a_namespace_that_does_not_exist_is_refused(fleet: Fleet) -> None:
    with pytest.raises(NamespaceNotFoundError):
        await fleet.token("nowhere")


@pytest.mark.parametrize(
    "url", ["", "http://fleet:7443", "fleet:7443", "https://", "https://x/path", "https://u@x", "https://x:99999"]
)
async def test_an_address_that_no_board_can_use_is_refused(fleet: Fleet, url: str) -> None:
    with pytest.raises(BadQueryError) as refused:
        await fleet.enrollment.create_token("default", ttl_s=60, url=url, by="ada", now=fleet.clock())
    assert refused.value.field == "url"


@pytest.mark.parametrize("ttl_s", [0, -1, float("nan"), float("inf"), 1e9])
async def test_a_lifetime_out_of_range_is_refused(fleet: Fleet, ttl_s: float) -> None:
    with pytest.raises(BadQueryError) as refused:
        await fleet.enrollment.create_token("default", ttl_s=ttl_s, url="https://x", by="ada", now=fleet.clock())
    assert refused.value.code == "OutOfRange"


async def test_an_expired_token_is_refused(fleet: Fleet) -> None:
    await fleet.add_class()
    secret = await fleet.token()
    fleet.clock.advance(3601)
    with pytest.raises(ProtocolError) as refused:
        await fleet.enrollment.enroll(Board("pi-01").request(secret), fleet.clock())
    assert refused.value.code == Code.TOKEN_EXPIRED


def _fields(request: object) -> dict:
    return {f: getattr(request, f) for f in type(request).__struct_fields__}  # type: ignore[attr-defined]
