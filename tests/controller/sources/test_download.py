"""Files from a web server that cuts, lies, dawdles and changes its mind. Real sockets, real disks."""

import asyncio
import hashlib
import random
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from litefleet_controller.artifacts.directory import DirectoryBlobs
from litefleet_controller.sources.exchange import Patience
from litefleet_controller.sources.fetcher import BlobFetcher
from litefleet_controller.sources.interface import Fetched, Fetching, SourceError, Wanted
from litefleet_controller.sources.policy import HostRule, SourcePolicy
from tests.controller.sources.certificates import certificate
from tests.controller.sources.site import Asked, Site, Write, head, running

CONTENT = random.Random(7).randbytes(300_000)
QUICK = Patience(connect_s=2, silence_s=0.3, window_s=0.2, window_bytes=5_000, tries=3, first_pause_s=0.01)


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Place:
    """A fetcher with its blobs, and what it was told on the way."""

    def __init__(self, folder: Path, *hosts: str, patience: Patience = QUICK, **policy: object) -> None:
        self.folder = folder
        self.blobs = DirectoryBlobs(folder / "blobs")
        self.names = {"files.test": ["127.0.0.1"]}
        self.told: list[Fetching] = []
        self.lookups = 0
        rules = tuple(HostRule.parse(h) for h in hosts or ("files.test", "127.0.0.1"))
        self.policy = replace(SourcePolicy(hosts=rules), **policy)
        self.fetcher = BlobFetcher(self.blobs, folder / "sources", self.policy, patience=patience, resolve=self.resolve)

    async def resolve(self, host: str, port: int) -> list[str]:
        self.lookups += 1
        if host[0].isdigit():
            return [host]
        if host not in self.names:
            raise OSError("Name or service not known")
        return self.names[host]

    async def get(self, uri: str, digest: str | None = None) -> Fetched:
        return await self.fetcher.fetch(Wanted(uri, digest), self.told.append)

    async def refusal(self, uri: str, digest: str | None = None) -> SourceError:
        with pytest.raises(SourceError) as refused:
            await self.get(uri, digest)
        assert "\n" not in str(refused.value)
        return refused.value

    @property
    def leftovers(self) -> list[str]:
        return sorted(p.name.partition(".")[2] for p in (self.folder / "sources" / "partial").iterdir())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with running(Site(CONTENT)) as made:
        yield made


def at(site: Site, host: str = "files.test", path: str = "/m.keras") -> str:
    return f"http://{host}:{site.port}{path}"


async def test_a_file_becomes_a_blob(place: Place, site: Site) -> None:
    got = await place.get(at(site))
    assert got == Fetched(sha(CONTENT), len(CONTENT))
    assert await place.blobs.get(got.digest) == CONTENT
    assert place.leftovers == []
    assert place.told[0] == Fetching(0, len(CONTENT))
    assert place.told[-1] == Fetching(len(CONTENT), len(CONTENT))
    assert site.asked[0].headers["host"] == f"files.test:{site.port}"


async def test_a_file_whose_length_nobody_says_becomes_a_blob(place: Place, site: Site) -> None:
    site.length = False
    assert (await place.get(at(site))).size == len(CONTENT)


async def test_a_pinned_file_that_is_here_is_not_fetched(place: Place, site: Site) -> None:
    await place.blobs.put(CONTENT)
    assert (await place.get(at(site), sha(CONTENT))).size == len(CONTENT)
    assert site.peers == 0


async def test_another_content_than_the_pinned_one_is_refused_and_not_kept(place: Place, site: Site) -> None:
    refused = await place.refusal(at(site), sha(b"other"))
    assert (refused.code, sha(CONTENT) in str(refused)) == ("DigestMismatch", True)
    assert await place.blobs.size(sha(CONTENT)) is None
    assert place.leftovers == []


async def test_a_file_that_has_not_changed_is_not_fetched_again(place: Place, site: Site) -> None:
    first = await place.get(at(site))
    sent = site.sent
    assert await place.get(at(site)) == first
    assert site.sent == sent
    site.content = CONTENT + b"more"
    assert (await place.get(at(site))).digest == sha(CONTENT + b"more")


async def test_a_file_whose_blob_is_gone_is_fetched_again(place: Place, site: Site) -> None:
    first = await place.get(at(site))
    await place.blobs.delete(first.digest)
    assert await place.get(at(site)) == first
    assert await place.blobs.get(first.digest) == CONTENT


# --- cut off -----------------------------------------------------------------------------------------------------


async def test_a_download_that_is_cut_goes_on_where_it_was(place: Place, site: Site) -> None:
    site.cut_after = [100_000, 50_000, 1]
    assert (await place.get(at(site))).digest == sha(CONTENT)
    assert [a.start for a in site.asked] == [None, 100_000, 150_000, 150_001]
    assert site.sent == len(CONTENT)


async def test_a_server_that_knows_no_ranges_sends_it_all_again(place: Place, site: Site) -> None:
    site.ranges = False
    site.cut_after = [100_000]
    assert (await place.get(at(site))).digest == sha(CONTENT)
    assert site.sent == 100_000 + len(CONTENT)


async def test_a_file_that_changed_meanwhile_is_not_spliced(place: Place, site: Site) -> None:
    site.cut_after = [100_000]
    other = random.Random(8).randbytes(200_000)

    async def change(asked: Asked, _: Write) -> bool:
        if asked.start is not None:
            site.content = other
        return False

    site.behave = change
    assert (await place.get(at(site))).digest == sha(other)


@pytest.mark.parametrize(
    "wrong",
    [
        {"Content-Range": "bytes 0-299999/300000"},
        {"Content-Range": "bytes 100001-299999/300000"},
        {"Content-Range": "bytes 100000-199999/300000"},
        {"Content-Range": "nonsense"},
        {"Content-Range": "bytes 100000-299999/300000", "ETag": '"other"'},
    ],
)
async def test_a_range_that_was_not_asked_for_is_not_appended(place: Place, site: Site, wrong: dict[str, str]) -> None:
    site.cut_after = [100_000]

    async def lie(asked: Asked, write: Write) -> bool:
        if asked.start is None:
            return False
        await write(head(206, {"ETag": "", "Content-Length": "200000", **wrong}) + bytes(200_000))
        return True

    site.behave = lie
    assert (await place.get(at(site))).digest == sha(CONTENT)


async def test_a_range_past_the_end_begins_anew(place: Place, site: Site) -> None:
    site.cut_after, site.status = [100_000], [200, 416]
    assert (await place.get(at(site))).digest == sha(CONTENT)


async def test_without_a_strong_validator_a_cut_download_begins_anew(place: Place, site: Site) -> None:
    site.etag, site.cut_after = 'W/"weak"', [100_000]
    assert (await place.get(at(site))).digest == sha(CONTENT)
    assert [a.start for a in site.asked] == [None, None]


async def test_a_download_that_always_breaks_off_at_once_is_given_up(place: Place, site: Site) -> None:
    site.cut_after = [0] * 9
    assert (await place.refusal(at(site))).code == "Cut"
    assert len(site.asked) == QUICK.tries


async def test_a_cancelled_download_goes_on_in_the_next_process(place: Place, site: Site) -> None:
    stuck = asyncio.Event()

    async def stop_in_the_middle(asked: Asked, write: Write) -> bool:
        if asked.start is not None:
            return False
        await write(head(200, {"ETag": f'"{sha(CONTENT)[7:23]}"', "Content-Length": str(len(CONTENT))}))
        await write(CONTENT[:120_000])
        await stuck.wait()
        return True

    site.behave = stop_in_the_middle
    (place.folder / "a").mkdir()
    patient = Place(place.folder / "a", patience=replace(QUICK, silence_s=60))
    task = asyncio.create_task(patient.get(at(site)))
    while not patient.told or patient.told[-1].received < 120_000:
        await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.wait({task})
    stuck.set()
    assert patient.leftovers == ["json", "part"]
    again = Place(place.folder / "a")
    assert (await again.get(at(site))).digest == sha(CONTENT)
    assert site.asked[-1].start == 120_000


# --- no ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, "NotFound"),
        (410, "NotFound"),
        (401, "AccessDenied"),
        (403, "AccessDenied"),
        (204, "BadAnswer"),
        (400, "BadAnswer"),
    ],
)
async def test_a_server_that_says_no_is_asked_once(place: Place, site: Site, status: int, code: str) -> None:
    site.status = [status]
    assert (await place.refusal(at(site))).code == code
    assert len(site.asked) == 1


async def test_a_server_in_trouble_is_asked_again(place: Place, site: Site) -> None:
    site.status = [503, 500]
    assert (await place.get(at(site))).digest == sha(CONTENT)


async def test_a_server_that_stays_in_trouble_is_left_alone_for_as_long_as_it_says(place: Place, site: Site) -> None:
    site.status, site.more = [503] * 9, {"Retry-After": "0"}
    refused = await place.refusal(at(site))
    assert (refused.code, refused.final, len(site.asked)) == ("ServerError", False, QUICK.tries)


async def test_a_length_past_the_limit_is_refused_before_the_body(site: Site, tmp_path: Path) -> None:
    place = Place(tmp_path, max_bytes=1_000_000)

    async def huge(_: Asked, write: Write) -> bool:
        await write(head(200, {"Content-Length": str(10 * 1024**3)}))
        await write(b"x" * 1000)
        return True

    site.behave = huge
    refused = await place.refusal(at(site))
    assert (refused.code, str(10 * 1024**3) in str(refused)) == ("TooLarge", True)
    assert place.told == []


async def test_a_body_past_the_limit_is_refused_while_it_comes(site: Site, tmp_path: Path) -> None:
    site.length = False
    place = Place(tmp_path, max_bytes=200_000)
    assert (await place.refusal(at(site))).code == "TooLarge"
    assert all(told.received <= 200_000 for told in place.told)


async def test_a_body_shorter_than_it_was_said_is_no_file(place: Place, site: Site) -> None:
    async def short(_: Asked, write: Write) -> bool:
        await write(head(200, {"Content-Length": "1000"}) + b"x" * 10)
        return True

    site.behave = short
    assert (await place.refusal(at(site))).code == "Cut"


async def test_headers_without_end_are_refused(place: Place, site: Site) -> None:
    async def endless(_: Asked, write: Write) -> bool:
        await write(b"HTTP/1.1 200 OK\r\n")
        for number in range(40):
            await write(f"X-{number}: ".encode() + b"x" * 10_000 + b"\r\n")
        return True

    site.behave = endless
    assert (await place.refusal(at(site))).code == "Cut"


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc"])
async def test_what_is_no_web_server_is_no_file(place: Place, site: Site, answer: bytes) -> None:
    async def other(_: Asked, write: Write) -> bool:
        await write(answer)
        return True

    site.behave = other
    assert (await place.refusal(at(site))).code == "Cut"


async def test_an_encoded_answer_is_refused(place: Place, site: Site) -> None:
    site.more = {"Content-Encoding": "gzip"}
    refused = await place.refusal(at(site))
    assert (refused.code, "gzip" in str(refused)) == ("BadAnswer", True)


async def test_an_empty_file_is_refused(place: Place, site: Site) -> None:
    site.content = b""
    assert (await place.refusal(at(site))).code == "Empty"


async def test_a_server_that_says_nothing_is_not_waited_for(place: Place, site: Site) -> None:
    async def silent(_: Asked, __: Write) -> bool:
        await asyncio.sleep(30)
        return True

    site.behave = silent
    assert (await place.refusal(at(site))).code == "Timeout"


async def test_a_server_that_drips_is_not_waited_for(place: Place, site: Site) -> None:
    async def drip(_: Asked, write: Write) -> bool:
        await write(head(200, {"Content-Length": "100000"}))
        for _ in range(1000):
            await write(b"x")
            await asyncio.sleep(0.05)
        return True

    site.behave = drip
    assert (await place.refusal(at(site))).code == "TooSlow"


async def test_a_port_where_nobody_listens_is_said(place: Place) -> None:
    assert (await place.refusal("http://files.test:1/m")).code == "Unreachable"


# --- where to ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hosts", [("other.test",), ("files.test:1",), ("*.files.test",), ("iles.test",)])
async def test_a_host_that_is_not_listed_is_not_even_looked_up(site: Site, tmp_path: Path, hosts: tuple[str]) -> None:
    place = Place(tmp_path, *hosts)
    refused = await place.refusal(at(site))
    assert (refused.code, refused.final) == ("HostNotAllowed", True)
    assert f"--source-host files.test:{site.port}" in refused.hint
    assert (site.peers, place.lookups) == (0, 0)


async def test_a_listed_name_at_an_address_of_this_machine_is_not_connected_to(site: Site, tmp_path: Path) -> None:
    place = Place(tmp_path, "files.test")
    refused = await place.refusal(at(site))
    assert (refused.code, "127.0.0.1" in str(refused)) == ("AddressNotAllowed", True)
    assert site.peers == 0


async def test_a_name_that_is_looked_up_anew_is_judged_anew(place: Place, site: Site) -> None:
    """DNS rebinding: the address is judged that is connected to, not one that was looked up before."""
    site.cut_after = [100_000]

    async def rebind(_: Asked, __: Write) -> bool:
        place.names["files.test"] = ["169.254.169.254"]
        return False

    site.behave = rebind
    refused = await place.refusal(at(site))
    assert (refused.code, "169.254.169.254" in str(refused)) == ("AddressNotAllowed", True)
    assert site.peers == 1


async def test_of_several_addresses_an_allowed_one_is_used(place: Place, site: Site) -> None:
    place.names["files.test"] = ["169.254.169.254", "::1", "127.0.0.1"]
    assert (await place.get(at(site))).digest == sha(CONTENT)


async def test_a_proxy_in_the_environment_is_not_used(
    place: Place, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await place.get(at(site))).digest == sha(CONTENT)


async def moved(site: Site, to: Callable[[Asked], str | None]) -> None:
    async def send_on(asked: Asked, write: Write) -> bool:
        if (location := to(asked)) is None:
            return False
        await write(head(302, {"Location": location, "Content-Length": "0"}))
        return True

    site.behave = send_on


async def test_a_redirect_to_a_listed_host_is_followed(place: Place, site: Site) -> None:
    signed = "/real?X-Amz-Signature=abc"
    await moved(site, lambda asked: signed if asked.path == "/m.keras" else None)
    assert (await place.get(at(site))).digest == sha(CONTENT)
    assert site.asked[-1].path == signed


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("http://other.test/m", "HostNotAllowed"),
        ("http://169.254.169.254/latest/meta-data/", "HostNotAllowed"),
        ("http://user:secret@files.test/m", "BadAnswer"),
        ("file:///etc/passwd", "BadAnswer"),
        ("gopher://files.test/", "BadAnswer"),
        ("http://[::", "BadAnswer"),
        ("/m.keras", "TooManyRedirects"),
    ],
)
async def test_a_redirect_to_elsewhere_is_not_followed(place: Place, site: Site, location: str, code: str) -> None:
    await moved(site, lambda _: location)
    assert (await place.refusal(at(site))).code == code


async def test_two_who_want_the_same_uri_with_other_contents_do_not_share_a_file(place: Place, site: Site) -> None:
    got, refused = await asyncio.gather(place.get(at(site)), place.get(at(site), sha(b"x")), return_exceptions=True)
    assert isinstance(got, Fetched)
    assert isinstance(refused, SourceError)
    assert refused.code == "DigestMismatch"
    assert site.sent == len(CONTENT)


# --- TLS ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "ends", "trusted", "code"),
    [
        (("files.test",), 1, True, ""),
        (("files.test",), 1, False, "TlsFailed"),
        (("other.test",), 1, True, "TlsFailed"),
        (("files.test",), -1, True, "TlsFailed"),
    ],
)
async def test_a_server_must_prove_its_name(
    tmp_path: Path, names: tuple[str], ends: int, trusted: bool, code: str
) -> None:
    authority, chain = certificate(tmp_path, names, timedelta(days=ends))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    place = Place(tmp_path, ca_file=authority if trusted else None)
    async with running(Site(CONTENT), context) as site:
        uri = at(site).replace("http://", "https://")
        if not code:
            assert (await place.get(uri)).digest == sha(CONTENT)
        else:
            refused = await place.refusal(uri)
            assert (refused.code, site.asked) == (code, [])
