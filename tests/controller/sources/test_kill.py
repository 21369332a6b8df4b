"""A controller that is killed in a download, and a disk that is full."""

import asyncio
import random
import resource
import sys
import textwrap
from pathlib import Path

from litefleet_controller.sources.partial import SYNC_BYTES
from tests.controller.sources.site import Asked, Site, Write, head, running
from tests.controller.sources.test_download import Place, at, sha

CHILD = """
    import asyncio, sys
    from pathlib import Path
    from litefleet_controller.artifacts.directory import DirectoryBlobs
    from litefleet_controller.sources.fetcher import BlobFetcher
    from litefleet_controller.sources.interface import Wanted
    from litefleet_controller.sources.policy import HostRule, SourcePolicy

    async def main():
        folder, uri = Path(sys.argv[1]), sys.argv[2]
        policy = SourcePolicy(hosts=(HostRule("127.0.0.1"),))
        fetcher = BlobFetcher(DirectoryBlobs(folder / "blobs"), folder / "sources", policy)
        await fetcher.fetch(Wanted(uri), lambda f: print(f.received, flush=True))

    asyncio.run(main())
"""


async def test_a_killed_download_goes_on_from_what_was_certain(tmp_path: Path) -> None:
    content = random.Random(5).randbytes(SYNC_BYTES * 2)
    tag = '"one"'

    async def most_of_it(asked: Asked, write: Write) -> bool:
        if asked.start is not None:
            return False
        await write(head(200, {"ETag": tag, "Content-Length": str(len(content))}))
        await write(content[:-1])
        await asyncio.sleep(60)
        return True

    async with running(Site(content, etag=tag, behave=most_of_it)) as site:
        uri = at(site, "127.0.0.1")
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", textwrap.dedent(CHILD), str(tmp_path), uri, stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        async for line in child.stdout:
            if int(line) == len(content) - 1:
                break
        child.kill()
        await child.wait()
        place = Place(tmp_path)
        assert (await place.get(uri)).digest == sha(content)
        assert SYNC_BYTES <= (site.asked[-1].start or 0) < len(content) - 1
    assert place.leftovers == []


async def test_a_full_disk_is_said_and_the_download_goes_on_when_there_is_room(tmp_path: Path) -> None:
    content = random.Random(6).randbytes(400_000)
    place = Place(tmp_path)
    async with running(Site(content)) as site:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
        try:
            refused = await place.refusal(at(site))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (refused.code, refused.final) == ("StorageFull", False)
        assert (await place.get(at(site))).digest == sha(content)
        assert site.asked[-1].start == 200_000
