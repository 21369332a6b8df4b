"""How a board joins: token, CA, key, CSR, certificate. Called by `litefleet-agent enroll`.

First contact is made without trust and proven by the CA's hash in the token (see protocol.enrollment); everything
after it is TLS that is verified against that CA, the server's name included.
"""

import hashlib
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

import msgspec
from msgspec import Struct

from litefleet_agent import health, identity, vouching
from litefleet_agent.errors import AgentError
from litefleet_agent.fileio import Disk
from litefleet_protocol.codes import Code
from litefleet_protocol.enrollment import (
    CA_PATH,
    ENROLL_PATH,
    EnrollmentToken,
    EnrollRequest,
    EnrollResponse,
    decode_token,
)
from litefleet_protocol.names import check_name

TIMEOUT_S = 30.0
MAX_ANSWER_BYTES = 256 * 1024


class Joining(Struct, frozen=True):
    """What a person gave on the command line."""

    token: str
    name: str
    device_class: str
    labels: dict[str, str]
    force: bool = False


class _Cause(Struct, frozen=True):
    reason: str = ""
    message: str = ""
    field: str = ""


class _Details(Struct, frozen=True):
    causes: tuple[_Cause, ...] = ()


class _Status(Struct, frozen=True):
    """The part of a Kubernetes Status object that a person wants to read."""

    message: str = ""
    reason: str = ""
    details: _Details | None = None


def enroll(disk: Disk, state_dir: Path, joining: Joining) -> EnrollResponse:
    """Join the fleet and keep the identity under `state_dir`.

    Raises:
        ProtocolError: `InvalidName` or `TokenInvalid`, before anything is sent.
        AgentError: `Internal` when it is enrolled already or nobody answers; otherwise the controller's code.
    """
    check_name(joining.name, "--name")
    check_name(joining.device_class, "--class")
    token = decode_token(joining.token)
    if identity.exists(disk, state_dir) and not joining.force:
        known = identity.load(disk, state_dir)
        raise AgentError(
            Code.INTERNAL,
            f"{state_dir} is already enrolled as {known.device!r} in fleet {known.fleet}",
            hint="use --force to replace that identity",
        )
    ca_pem = fetch_ca(token)
    staging = identity.staging_directory(state_dir)
    disk.make_directory(staging)
    made = vouching.make_key(joining.name, str(staging / "key.pem"))
    answer = _ask_for_certificate(token, ca_pem, joining, made.csr)
    identity.save(disk, state_dir, answer)
    return answer


def fetch_ca(token: EnrollmentToken) -> str:
    """The fleet CA's certificate (PEM), proven by the token's hash.

    Raises:
        AgentError: `BadSignature` when another CA answers, `Internal` when nobody does.
    """
    blind = ssl.create_default_context()
    blind.check_hostname = False
    blind.verify_mode = ssl.CERT_NONE
    request = urllib.request.Request(token.url.rstrip("/") + CA_PATH)  # noqa: S310 - `_send` takes https alone
    pem = _send(request, blind).decode(errors="replace")
    try:
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.strip())).hexdigest()
    except ValueError as e:
        raise AgentError(Code.BAD_SIGNATURE, f"{token.url} gave something that isn't a certificate") from e
    if digest != token.ca_sha256:
        raise AgentError(
            Code.BAD_SIGNATURE,
            f"{token.url} answers with another CA than the token names",
            hint="make a new token; if that changes nothing, something between here and the controller is lying",
        )
    return pem


def _ask_for_certificate(token: EnrollmentToken, ca_pem: str, joining: Joining, csr: str) -> EnrollResponse:
    body = EnrollRequest(
        secret=token.secret,
        device=joining.name,
        device_class=joining.device_class,
        csr=csr,
        labels=joining.labels,
    )
    request = urllib.request.Request(  # noqa: S310 - `_send` takes https alone
        token.url.rstrip("/") + ENROLL_PATH,
        data=msgspec.json.encode(body),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    context = ssl.create_default_context(cadata=ca_pem)
    if not health.clock_trusted(time.time()):
        context.verify_flags |= ssl.VerifyFlags(0x200000)  # X509_V_FLAG_NO_CHECK_TIME: a new board may stand in 1970
    data = _send(request, context)
    try:
        answer = msgspec.json.decode(data, type=EnrollResponse)
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise AgentError(Code.BAD_MESSAGE, f"{token.url} answered with something that isn't an enrollment: {e}") from e
    if answer.device != joining.name:
        raise AgentError(Code.BAD_MESSAGE, f"{token.url} enrolled {answer.device!r} instead of {joining.name!r}")
    return answer


def _send(request: urllib.request.Request, context: ssl.SSLContext) -> bytes:
    if request.type != "https":
        raise AgentError(Code.TOKEN_INVALID, f"the token's URL is not https: {request.full_url[:200]}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            data: bytes = answer.read(MAX_ANSWER_BYTES)
            return data
    except urllib.error.HTTPError as e:
        raise _refusal(e.code, e.read(MAX_ANSWER_BYTES)) from e
    except (urllib.error.URLError, OSError) as e:
        reason = e.reason if isinstance(e, urllib.error.URLError) else e
        raise AgentError(
            Code.INTERNAL, f"no answer from {request.full_url}: {reason}", hint="is the controller up, and reachable?"
        ) from e


def _refusal(http_code: int, body: bytes) -> AgentError:
    try:
        status = msgspec.json.decode(body, type=_Status)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return AgentError(Code.INTERNAL, f"the controller answered HTTP {http_code}")
    cause = status.details.causes[0] if status.details and status.details.causes else _Cause()
    known = next((c for c in Code if c in (cause.reason, status.reason)), Code.INTERNAL)
    message = status.message or cause.message or f"the controller answered HTTP {http_code}"
    return AgentError(known, message, field=cause.field)
