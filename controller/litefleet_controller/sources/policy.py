"""What the operator lets this controller fetch: hosts, addresses, buckets, folders, sizes. Pure.

A manifest is written by somebody who may not reach what the controller reaches: cloud metadata, the database next door,
a printer. So nothing is fetched that isn't listed, and a listed name doesn't vouch for every address that a name server
gives for it:

- an address that is public is taken for every listed name;
- one in a private network is taken for a name that is listed in full, as intranet servers are, and not for a wildcard;
- loopback, link-local (cloud metadata is there), multicast and reserved ones are taken only when they are listed
  themselves; loopback for the name localhost, too.
"""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from litefleet_controller.resources.causes import FieldError
from litefleet_controller.resources.uris import HttpUri, parse_http

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_GIB = 1024**3
_NAME = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9._-]*[a-z0-9])?")
_PRIVATE = [ipaddress.ip_network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")]
_PRIVATE_6 = ipaddress.ip_network("fc00::/7")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_METADATA = ipaddress.ip_address("fd00:ec2::254")
"""Amazon's, in a private range."""


class PolicyError(ValueError):
    """A setting that can't be understood; one sentence."""


@dataclass(frozen=True, slots=True)
class HostRule:
    """One entry of the list: a name, a wildcard (`*.example.com`, `*`) or an address, with a port or for all ports."""

    host: str
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> "HostRule":
        """`HOST` or `HOST:PORT`; an IPv6 address in brackets when a port follows.

        Raises: PolicyError.
        """
        host, port = text.strip().lower(), None
        if (found := re.fullmatch(r"(\[[^\]]*\]|[^:]*):(\d{1,5})", host)) is not None:
            host, port = found[1], int(found[2])
        host = host.strip("[]").rstrip(".")
        if port is not None and not 1 <= port <= 65535:
            raise PolicyError(f"{text!r}: a port is between 1 and 65535")
        if host != "*" and _address(host) is None and not _NAME.fullmatch(host):
            raise PolicyError(
                f"{text!r} is no host: write models.example.com, models.example.com:8443, *.example.com or an address"
            )
        return cls(host, port)

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for names that nobody wrote down."""
        return self.host.startswith("*")

    def covers(self, host: str, port: int) -> bool:
        """Whether it speaks of that host and port."""
        if self.port not in (None, port):
            return False
        if self.host == "*":
            return True
        if self.host.startswith("*."):
            return host.endswith(self.host[1:])
        return host == self.host or (_address(host) is not None and _address(host) == _address(self.host))


@dataclass(frozen=True, slots=True)
class SourcePolicy:
    """Everything that is allowed. The default allows nothing but what was pushed."""

    hosts: tuple[HostRule, ...] = ()
    buckets: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
    max_bytes: int = 2 * _GIB
    """The largest file that is fetched; as large as uploads may be."""
    s3_endpoint: HttpUri | None = None
    """None for Amazon's."""
    ca_file: Path | None = None
    """Certificates that are trusted besides the system's."""

    def allows_host(self, host: str, port: int) -> bool:
        """Whether anything is fetched from there."""
        return any(rule.covers(host, port) for rule in self.hosts)

    def allows_address(self, host: str, port: int, address: Address) -> bool:
        """Whether a connection for `host` may go to `address`."""
        plain = _plain(address)
        if any(not r.is_wildcard and _address(r.host) == plain and r.port in (None, port) for r in self.hosts):
            return True
        by_name = any(not rule.is_wildcard and rule.covers(host, port) for rule in self.hosts)
        if plain.is_loopback:
            return by_name and host == "localhost"
        if _is_private(plain):
            return by_name and plain != _METADATA
        return plain.is_global and not plain.is_multicast

    def with_endpoint(self) -> "SourcePolicy":
        """What holds for the S3 endpoint itself: the operator named it, and with it whatever its name stands for."""
        if self.s3_endpoint is None:
            return SourcePolicy((HostRule("*.amazonaws.com"), HostRule("*.amazonaws.com.cn")), max_bytes=self.max_bytes)
        rules = [HostRule(self.s3_endpoint.host, self.s3_endpoint.port)]
        return SourcePolicy(tuple(rules), max_bytes=self.max_bytes, ca_file=self.ca_file)


def parse_endpoint(text: str) -> HttpUri:
    """The URL of an S3 service.

    Raises: PolicyError.
    """
    try:
        if not text.startswith(("http://", "https://")):
            raise PolicyError(f"{text!r} is no URL: write https://s3.example.com or http://10.0.0.5:9000")
        endpoint = parse_http(text.rstrip("/"))
    except FieldError as e:
        raise PolicyError(str(e)) from e
    if endpoint.target != "/":
        raise PolicyError(f"{text!r}: an S3 endpoint has no path")
    return endpoint


def _address(text: str) -> Address | None:
    try:
        return _plain(ipaddress.ip_address(text))
    except ValueError:
        return None


def _plain(address: Address) -> Address:
    """The IPv4 address that an IPv6 address only wraps: mapped, 6to4 or NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_private(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return any(address in network for network in _PRIVATE)
    return address in _PRIVATE_6
