"""S3: the real client, a server that speaks S3, and a bucket that nobody opened."""

import random
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from litefleet_controller.sources.policy import SourcePolicy, parse_endpoint
from tests.controller.sources.test_download import Place, sha

CONTENT = random.Random(9).randbytes(100_000)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    s3 = boto3.client("s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    s3.create_bucket(Bucket="models")
    s3.put_object(Bucket="models", Key="a b/digits.keras", Body=CONTENT)
    yield url
    server.stop()


@pytest.fixture
def place(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    return Place(tmp_path, "unused.test", buckets=("models",), s3_endpoint=parse_endpoint(endpoint))


async def test_an_object_becomes_a_blob(place: Place) -> None:
    got = await place.get("s3://models/a%20b/digits.keras", sha(CONTENT))
    assert await place.blobs.get(got.digest) == CONTENT


async def test_an_object_that_has_not_changed_is_not_fetched_again(place: Place) -> None:
    first = await place.get("s3://models/a%20b/digits.keras")
    place.told.clear()
    assert await place.get("s3://models/a%20b/digits.keras") == first
    assert place.told == []


async def test_an_object_that_is_not_there_is_said(place: Place) -> None:
    refused = await place.refusal("s3://models/none")
    assert refused.code == "NotFound"
    assert "Signature" not in str(refused)


async def test_a_bucket_that_is_not_listed_is_not_asked_for(place: Place) -> None:
    refused = await place.refusal("s3://others/m")
    assert (refused.code, refused.final, "--source-bucket others" in refused.hint) == ("BucketNotAllowed", True, True)


async def test_half_of_the_credentials_is_said_before_anybody_is_asked(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    refused = await place.refusal("s3://models/m")
    assert (refused.code, "AWS_ACCESS_KEY_ID" in refused.hint) == ("CredentialsMissing", True)


def test_nothing_is_listed_by_default() -> None:
    assert SourcePolicy().buckets == ()
