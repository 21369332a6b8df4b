"""Which server, with which credentials: read from a kubeconfig, as kubectl does, so that both always agree.

The file is the first of: `--kubeconfig`, `$LITEFLEET_KUBECONFIG`, the first existing file of `$KUBECONFIG` (a list with
colons), `./litefleet-data/kubeconfig` (what `litefleet up` writes). Of a kubeconfig these are understood: contexts,
`server`, `certificate-authority(-data)`, `tls-server-name`, `insecure-skip-tls-verify`, `token`, `tokenFile`,
`client-certificate(-data)` with its key. Users that run a program or a plug-in are refused.
"""

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from litefleet_controller.cli.errors import CliError

DEFAULT_PATH = Path("litefleet-data") / "kubeconfig"
SEARCHED = "--kubeconfig, $LITEFLEET_KUBECONFIG, $KUBECONFIG, ./litefleet-data/kubeconfig"


@dataclass(frozen=True, slots=True)
class Target:
    """A server and how to speak to it."""

    server: str
    source: Path
    """The kubeconfig that named it, for error messages."""
    namespace: str = "default"
    token: str = field(default="", repr=False)
    ca_pem: str = ""
    insecure: bool = False
    tls_server_name: str = ""
    client_pem: str = field(default="", repr=False)
    """Certificate and key, when the user has one."""

    def tls(self) -> ssl.SSLContext:
        """A context that verifies the server as the kubeconfig says.

        Raises:
            CliError: `BadKubeconfig` when a certificate in it can't be read.
        """
        try:
            context = ssl.create_default_context(cadata=self.ca_pem or None)
            if self.insecure:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self.client_pem:
                # Python's ssl reads client keys from files only.
                with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
                    file.write(self.client_pem)
                    file.flush()
                    context.load_cert_chain(file.name)
        except (ssl.SSLError, ValueError) as e:
            raise _bad(self.source, f"a certificate or key in it can't be read: {e}") from e
        return context


def load(path: Path | None, namespace: str | None, environment: Mapping[str, str] = os.environ) -> Target:
    """The target of the current context of the first kubeconfig there is; `namespace` overrides the context's.

    Raises:
        CliError: `NoKubeconfig` or `BadKubeconfig`.
    """
    source = find(path, environment)
    config = _parse(source)
    context = _named(source, config, "contexts", config.get("current-context"), "context")
    cluster = _named(source, config, "clusters", context.get("cluster"), "cluster")
    user = _named(source, config, "users", context.get("user"), "user") if context.get("user") else {}
    if not isinstance(cluster.get("server"), str) or not cluster["server"].startswith(("https://", "http://")):
        raise _bad(source, "its cluster has no server with http:// or https://")
    for plugin in ("exec", "auth-provider", "username"):
        if plugin in user:
            raise _bad(source, f"its user signs in with {plugin!r}, which litefleet does not serve; use a token")
    return Target(
        server=cluster["server"].rstrip("/"),
        source=source,
        namespace=namespace or context.get("namespace") or "default",
        token=_token(source, user),
        ca_pem=_pem(source, cluster, "certificate-authority"),
        insecure=cluster.get("insecure-skip-tls-verify") is True,
        tls_server_name=str(cluster.get("tls-server-name") or ""),
        client_pem=_pem(source, user, "client-certificate") + _pem(source, user, "client-key"),
    )


def find(path: Path | None, environment: Mapping[str, str]) -> Path:
    """The kubeconfig to use.

    Raises:
        CliError: `NoKubeconfig`.
    """
    if path is not None:
        return _existing(path, "--kubeconfig")
    if environment.get("LITEFLEET_KUBECONFIG"):
        return _existing(Path(environment["LITEFLEET_KUBECONFIG"]), "$LITEFLEET_KUBECONFIG")
    listed = [Path(p) for p in environment.get("KUBECONFIG", "").split(os.pathsep) if p]
    for candidate in (*listed, DEFAULT_PATH):
        if candidate.is_file():
            return candidate
    raise CliError(
        f"there is no kubeconfig (looked at {SEARCHED})",
        "NoKubeconfig",
        hint="start a controller here with 'litefleet up', or name its kubeconfig with --kubeconfig",
    )


def _existing(path: Path, origin: str) -> Path:
    if not path.is_file():
        raise CliError(f"{origin} names {str(path)!r}, which is no file", "NoKubeconfig")
    return path


def _parse(source: Path) -> dict[str, Any]:
    import yaml  # late: 30 ms that `--help` doesn't need

    try:
        config = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as e:
        raise _bad(source, f"it can't be read: {' '.join(str(e).split())[:200]}") from e
    if not isinstance(config, dict):
        raise _bad(source, "it is no mapping")
    return config


def _named(source: Path, config: dict[str, Any], group: str, name: object, part: str) -> dict[str, Any]:
    entries = config.get(group)
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(part), dict):
            found: dict[str, Any] = entry[part]
            return found
    raise _bad(source, f"it has no {part} named {name!r}" if name else f"it names no {part}")


def _token(source: Path, user: dict[str, Any]) -> str:
    if user.get("token"):
        return str(user["token"])
    if user.get("tokenFile"):
        return _read(source, str(user["tokenFile"])).strip()
    return ""


def _pem(source: Path, part: dict[str, Any], name: str) -> str:
    data = part.get(f"{name}-data")
    if data:
        try:
            return base64.b64decode(str(data), validate=True).decode("ascii")
        except (binascii.Error, UnicodeDecodeError) as e:
            raise _bad(source, f"its {name}-data is no base64 of a PEM file") from e
    return _read(source, str(part[name])) if part.get(name) else ""


def _read(source: Path, name: str) -> str:
    """A file that a kubeconfig names, relative to the kubeconfig."""
    try:
        return (source.parent / name).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as e:
        raise _bad(source, f"it names {name!r}, which can't be read") from e


def _bad(source: Path, message: str) -> CliError:
    return CliError(f"kubeconfig {str(source)!r}: {message}", "BadKubeconfig")
