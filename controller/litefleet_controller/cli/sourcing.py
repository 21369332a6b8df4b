"""The options of `litefleet up` that say where files are fetched from. Each is an environment variable, too."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from litefleet_controller.sources.policy import SourcePolicy

SourceHost = Annotated[
    list[str] | None,
    typer.Option(
        help="Host that may be fetched from: NAME, NAME:PORT, *.NAME or an address; repeatable. None without it.",
        envvar="LITEFLEET_SOURCE_HOST",
        show_default=False,
    ),
]
SourceBucket = Annotated[
    list[str] | None,
    typer.Option(
        help="S3 bucket that may be fetched from; repeatable. None without it.",
        envvar="LITEFLEET_SOURCE_BUCKET",
        show_default=False,
    ),
]
SourceDir = Annotated[
    list[Path] | None,
    typer.Option(
        help="Folder of this machine that file:// URIs may read; repeatable. None without it.",
        envvar="LITEFLEET_SOURCE_DIR",
        show_default=False,
    ),
]
SourceMaxBytes = Annotated[
    int,
    typer.Option(help="The largest file that is fetched.", envvar="LITEFLEET_SOURCE_MAX_BYTES", min=1),
]
SourceCa = Annotated[
    Path | None,
    typer.Option(
        help="Certificates (PEM) that are trusted besides the system's.",
        envvar="LITEFLEET_SOURCE_CA",
        show_default=False,
    ),
]
S3Endpoint = Annotated[
    str | None,
    typer.Option(
        help="URL of the S3 service; Amazon's without it. Credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        envvar=["LITEFLEET_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"],
        show_default=False,
    ),
]


def source_policy(
    *,
    hosts: list[str] | None,
    buckets: list[str] | None,
    folders: list[Path] | None,
    max_bytes: int,
    ca_file: Path | None,
    s3_endpoint: str | None,
) -> "SourcePolicy":
    """What the options allow.

    Raises:
        UsageError: one of them can't be understood, or names a file or folder that isn't there.
    """
    from litefleet_controller.cli.errors import UsageError
    from litefleet_controller.sources.policy import HostRule, PolicyError, SourcePolicy, parse_endpoint

    for folder in folders or ():
        if not folder.is_dir():
            raise UsageError(f"--source-dir {folder}: there is no such folder")
    if ca_file is not None and not ca_file.is_file():
        raise UsageError(f"--source-ca {ca_file}: there is no such file")
    option = "--source-host"
    try:
        rules = tuple(HostRule.parse(host) for host in hosts or ())
        option = "--s3-endpoint"
        endpoint = parse_endpoint(s3_endpoint) if s3_endpoint else None
    except PolicyError as e:
        raise UsageError(f"{option}: {e}") from e
    return SourcePolicy(
        hosts=rules,
        buckets=tuple(buckets or ()),
        folders=tuple(folder.resolve() for folder in folders or ()),
        max_bytes=max_bytes,
        s3_endpoint=endpoint,
        ca_file=ca_file.resolve() if ca_file is not None else None,
    )
