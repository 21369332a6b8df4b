"""`litefleet up`: the controller, its database, its blobs and its broker, on one machine."""

import asyncio
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from litefleet_controller.cli.errors import CliError
from litefleet_controller.cli.sourcing import (
    S3Endpoint,
    SourceBucket,
    SourceCa,
    SourceDir,
    SourceHost,
    SourceMaxBytes,
    source_policy,
)


def up(
    data_dir: Annotated[Path, typer.Option(help="Everything it writes lies here.")] = Path("litefleet-data"),
    port: Annotated[int, typer.Option(help="HTTPS port; 0 takes a free one.", min=0, max=65535)] = 7443,
    host: Annotated[str, typer.Option(help="IP address to listen on, for HTTPS and MQTT.")] = "127.0.0.1",
    advertise: Annotated[
        list[str] | None,
        typer.Option(
            help="Name or address under which boards reach this machine; repeatable, the first is told to boards."
        ),
    ] = None,
    mqtt_port: Annotated[
        int, typer.Option(help="MQTT port; 0 keeps the last one, or takes a free one.", min=0, max=65535)
    ] = 0,
    source_host: SourceHost = None,
    source_bucket: SourceBucket = None,
    source_dir: SourceDir = None,
    source_max_bytes: SourceMaxBytes = 2 * 1024**3,
    source_ca: SourceCa = None,
    s3_endpoint: S3Endpoint = None,
) -> None:
    """Run it all on one machine. Prints one line when ready; SIGTERM or Ctrl-C ends it."""
    sources = source_policy(
        hosts=source_host,
        buckets=source_bucket,
        folders=source_dir,
        max_bytes=source_max_bytes,
        ca_file=source_ca,
        s3_endpoint=s3_endpoint,
    )
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as e:
        raise CliError(
            f"can't write {data_dir}: {e.strerror}", "DataDirectory", hint="choose another --data-dir"
        ) from e
    with _locked(data_dir):
        from litefleet_controller.app import Settings, StartError, serve
        from litefleet_controller.logs import configure_logging

        configure_logging(sys.stderr)
        settings = Settings(
            data_dir=data_dir.resolve(),
            host=host,
            port=port,
            advertise=tuple(advertise or ()),
            mqtt_port=mqtt_port,
            sources=sources,
        )
        try:
            asyncio.run(serve(settings, _say_ready))
        except StartError as e:
            raise CliError(str(e), e.code, hint=e.hint) from e


def _say_ready(url: str, kubeconfig: Path) -> None:
    print(f"litefleet is ready at {url}; try: kubectl --kubeconfig {kubeconfig} get devices", flush=True)


@contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    """Hold the data directory: two controllers on one folder would be two brokers on one port and one database."""
    path = data_dir / "lock"
    with path.open("a+") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            held.seek(0)
            other = held.read().strip()
            raise CliError(
                f"{data_dir} is in use by another 'litefleet up'" + (f" (process {other})" if other else ""),
                "InUse",
                hint="end that one, or give this one another --data-dir",
            ) from e
        held.truncate(0)
        held.write(str(os.getpid()))
        held.flush()
        yield
