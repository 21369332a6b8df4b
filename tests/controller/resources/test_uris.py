"""What a URI in a manifest may be."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litefleet_controller.resources.causes import FieldError
from litefleet_controller.resources.uris import BlobUri, FileUri, HttpUri, S3Uri, parse_uri

DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        (f"blob://{DIGEST}", BlobUri(DIGEST)),
        ("file:///srv/models/a%20b.keras", FileUri("/srv/models/a b.keras")),
        ("file://localhost/srv/m", FileUri("/srv/m")),
        ("https://Models.Example.com/m.keras?v=2", HttpUri("https", "models.example.com", 443, "/m.keras?v=2")),
        ("HTTP://models.example.com.:8080", HttpUri("http", "models.example.com", 8080, "/")),
        ("https://[FD00::1]:8443/m", HttpUri("https", "fd00::1", 8443, "/m")),
        ("s3://models/a/b.keras", S3Uri("models", "a/b.keras")),
        ("s3://models/a%20b", S3Uri("models", "a b")),
    ],
)
def test_a_uri_has_its_parts(text: str, parsed: object) -> None:
    assert parse_uri(text) == parsed


def test_an_http_uri_is_written_as_it_is_asked_for() -> None:
    for text in ("https://[fd00::1]:8443/m?a=b", "http://models.test/m"):
        uri = parse_uri(text)
        assert isinstance(uri, HttpUri)
        assert uri.text == text


@pytest.mark.parametrize(
    "text",
    [
        "", "m.keras", "/srv/m.keras", "ftp://x/m", "gs://b/m", "blob://", "blob://sha256:0", "blob://../../etc/passwd",
        "file://server/m", "file:///", "file:///a/../b", "file:///a/%2e%2e/b", "file:///a\0b", "file:///a%00b",
        "http://", "https:///m", "http://a b/m", "http://a/m\n", "http://a/m#part", "http://a:99999/m", "http://a:0/m",
        "http://[::/m", "http://ex\u0430mple.com/m", "https://a/" + "x" * 3000,
        "s3://", "s3://b", "s3://bucket", "s3://bucket/", "s3://bucket/a//b", "s3://bucket/../b", "s3://Bucket/a",
        "s3://bu..ket/a",
    ],
)  # fmt: skip
def test_what_is_no_uri_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(FieldError) as refused:
        parse_uri(text)
    assert refused.value.code == "InvalidUri"
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    "text",
    [
        "https://user:hunter2@models.test/m",
        "https://hunter2@models.test/m",
        "s3://key:hunter2@bucket/m",
        "https://b.s3.amazonaws.com/m?X-Amz-Credential=a&X-Amz-Signature=hunter2",
        "https://a.blob.core.windows.net/m?sig=hunter2",
        "https://storage.googleapis.com/m?X-Goog-Signature=hunter2",
    ],
)
def test_credentials_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(FieldError) as refused:
        parse_uri(text)
    assert refused.value.code == "CredentialsInManifest"
    assert "hunter2" not in str(refused.value)


@given(
    st.one_of(
        st.text(max_size=60),
        st.text(max_size=40).map(lambda t: f"http://{t}"),
        st.text(max_size=40).map(lambda t: f"s3://{t}"),
    )
)
def test_whatever_is_written_is_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(FieldError):
        parse_uri(text)
