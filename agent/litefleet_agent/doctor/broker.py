"""The way to the broker, step by step: TCP, TLS, MQTT. The first that fails is the one to mend.

The last step takes the board's own name at the broker, which throws out whoever has it: it is left out while the agent
runs. Spoken by hand, since the client library says only that a connection was lost, not with which alert of TLS.
"""

import contextlib
import socket
import ssl
from collections.abc import Mapping

from litefleet_agent.doctor.finding import Finding, fail, ok
from litefleet_agent.doctor.patient import Patient
from litefleet_agent.identity import Identity
from litefleet_agent.link import tls_context
from litefleet_protocol import topics

_REASONS: Mapping[int, str] = {
    0x84: "it speaks no MQTT 5",
    0x85: "it takes no such client id",
    0x86: "it doesn't know this board",
    0x87: "it doesn't let this board in",
    0x88: "it is not available",
    0x89: "it is busy",
    0x8A: "it has banned this board",
    0x97: "its quota is used up",
    0x9F: "too many connect at once",
}
"""MQTT 5.0, 3.2.2.2."""
_ENROLLED = "is the Device still there? 'litefleet get devices' tells; one that was deleted has to enroll again"


def broker(patient: Patient) -> list[Finding]:
    """One finding: how far it got."""
    who = patient.identity
    if who is None:
        return []
    where = f"{who.broker_host}:{who.broker_port}"
    try:
        plain = socket.create_connection((who.broker_host, who.broker_port), patient.timeout_s)
    except socket.gaierror as e:
        return [fail("broker", f"the name {who.broker_host} leads nowhere: {e.strerror}", "check DNS and the network")]
    except OSError as e:
        return [
            fail("broker", f"{where} doesn't answer: {e}", "check the network, firewalls, and that the broker runs")
        ]
    with plain:
        try:
            context = tls_context(who, check_time=patient.clock_trusted)
            connection = context.wrap_socket(plain, server_hostname=who.broker_host)
        except ssl.SSLCertVerificationError as e:
            todo = "another broker answers there, or this board was enrolled in another fleet: enroll again"
            return [fail("broker", f"{where} doesn't prove to be the fleet's: {e.verify_message}", todo)]
        except OSError as e:
            return [fail("broker", f"{where} answers, but not in TLS 1.3: {e}", "check the address and the clock")]
        with connection:
            if patient.running is None:
                finding = _mqtt(connection, who, where)
            else:
                finding = ok("broker", f"{where} answers in TLS; MQTT not tried, which would cut the running agent off")
    return [finding]


def _mqtt(connection: ssl.SSLSocket, who: Identity, where: str) -> Finding:
    try:
        reason, allowed = _ask(connection, who)
    except ssl.SSLError as e:
        return fail("broker", f"{where} refuses this board's certificate: {e.reason or e}", _ENROLLED)
    except OSError as e:
        return fail("broker", f"{where} doesn't answer in MQTT: {e}", "check what listens there")
    if reason is None:
        return fail("broker", f"{where} closed the connection without an answer in MQTT", "check what listens there")
    if reason:
        return fail("broker", f"{where}: {_REASONS.get(reason, 'it refuses')} (MQTT 0x{reason:02x})", _ENROLLED)
    if allowed is None or allowed >= 0x80:
        return fail("broker", f"{where} lets this board connect, but not read what is meant for it", _ENROLLED)
    return ok("broker", f"{where} answers in TLS and MQTT, and takes this board")


def _ask(connection: ssl.SSLSocket, who: Identity) -> tuple[int | None, int | None]:
    """The reasons of CONNACK and SUBACK; None for one that didn't come."""
    with contextlib.suppress(OSError):  # a certificate is refused late in TLS 1.3; reading tells how
        connection.sendall(connect_packet(who.device))
    reason = connack_reason(connection.recv(64))
    if reason != 0:
        return reason, None
    # A board that was deleted may still connect, its certificate is good; but it may read nothing.
    connection.sendall(subscribe_packet(topics.down(who.device, topics.Down.ACK)))
    allowed = suback_reason(connection.recv(64))
    connection.sendall(b"\xe0\x00")  # DISCONNECT
    return reason, allowed


def connect_packet(client_id: str) -> bytes:
    """CONNECT, clean, without a will. A client id is short enough for the one-byte form of every length here."""
    name = client_id.encode()
    body = b"\x00\x04MQTT\x05\x02\x00\x0a\x00" + len(name).to_bytes(2, "big") + name
    return bytes([0x10, len(body)]) + body


def subscribe_packet(topic: str) -> bytes:
    """SUBSCRIBE to one topic at QoS 1, as packet 1."""
    body = b"\x00\x01\x00" + len(topic).to_bytes(2, "big") + topic.encode() + b"\x01"
    return bytes([0x82, len(body)]) + body


def suback_reason(data: bytes) -> int | None:
    """The last reason code of a SUBACK, 0x80 and above for a refusal; None for anything else."""
    return data[-1] if len(data) >= 6 and data[0] == 0x90 else None


def connack_reason(data: bytes) -> int | None:
    """The reason code of a CONNACK, 0 for success; None for anything else."""
    return data[3] if len(data) >= 4 and data[0] == 0x20 else None
