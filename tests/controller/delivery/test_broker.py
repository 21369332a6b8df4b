"""The embedded broker and its policy, with a real mosquitto and real certificates."""

import asyncio
import contextlib
import os
import queue
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from litefleet_controller.delivery.broker import BrokerOptions, BrokerPortError, EmbeddedBroker
from litefleet_controller.delivery.broker_program import BrokerError, BrokerProgram, find_program
from litefleet_controller.delivery.interface import LinkState
from litefleet_controller.delivery.link import BrokerAddress, client_tls
from litefleet_controller.delivery.mqtt import MqttLink
from litefleet_controller.delivery.policy import RESPONSE_TOPIC, BrokerPolicy, PolicyError
from litefleet_controller.identity.authority import Authority
from litefleet_protocol import topics

NOW = datetime.now(UTC)
CONTROLLER = "controller-1"
NOT_AUTHORIZED = 135
TAKEN = {0, 16}  # success; success without a subscriber
DIGEST = f"sha256:{'ab' * 32}"
QUICK = BrokerOptions(first_delay_s=0.05)


class Client:
    """A blocking MQTT 5 client with a certificate; each call waits for the broker's answer."""

    def __init__(
        self, port: int, ca: Path, certificate: Path, key: Path, client_id: str, host: str = "127.0.0.1"
    ) -> None:
        self._address = (host, port)
        self.events: queue.Queue[tuple[str, object]] = queue.Queue()
        self.messages: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.gone: queue.Queue[int] = queue.Queue()
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5, reconnect_on_failure=False
        )
        context = ssl.create_default_context(cafile=str(ca))
        context.load_cert_chain(certificate, key)
        self._client.tls_set_context(context)
        self._client.on_connect = lambda c, u, f, reason, p: self.events.put(("connect", reason.value))
        self._client.on_subscribe = lambda c, u, m, reasons, p: self.events.put(("subscribe", reasons[0].value))
        self._client.on_publish = lambda c, u, m, reason, p: self.events.put(("publish", reason.value))
        self._client.on_disconnect = lambda c, u, f, reason, p: self.gone.put(reason.value)
        self._client.on_message = lambda c, u, message: self.messages.put((message.topic, message.payload))

    def connect(self) -> "Client":
        self._client.connect(*self._address, keepalive=30)
        self._client.loop_start()
        assert self._answer("connect") == 0
        return self

    def subscribe(self, topic: str) -> int:
        self._client.subscribe(topic, qos=1)
        return self._answer("subscribe")

    def publish(self, topic: str, payload: bytes = b"x", *, retain: bool = False) -> int:
        self._client.publish(topic, payload, qos=1, retain=retain)
        return self._answer("publish")

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain)

    def on_message(self, take: Callable[[str, bytes], None]) -> None:
        self._client.on_message = lambda c, u, message: take(message.topic, message.payload)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _answer(self, kind: str) -> int:
        got, value = self.events.get(timeout=5)
        assert got == kind
        assert isinstance(value, int)
        return value


@dataclass
class Fleet:
    """A running broker, and how to get clients for it."""

    directory: Path
    authority: Authority
    policy: BrokerPolicy
    broker: EmbeddedBroker
    port: int
    clients: list[Client]

    def files(self, name: str) -> tuple[Path, Path]:
        """Certificate and key of a device or a controller replica."""
        if name.startswith("controller-"):
            certificate, key = self.authority.client_certificate(name, NOW)
        else:
            key, csr = request(name)
            certificate = self.authority.sign_csr(csr, name, NOW)
        return self.write(name, certificate, key)

    def write(self, name: str, certificate: str, key: str) -> tuple[Path, Path]:
        paths = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        for path, text in zip(paths, (certificate, key), strict=True):
            path.write_text(text)
        return paths

    def make(self, name: str, client_id: str | None = None, files: tuple[Path, Path] | None = None) -> Client:
        ca = self.directory / "ca.pem"
        ca.write_text(self.authority.ca_pem)
        client = Client(self.port, ca, *(files or self.files(name)), client_id if client_id is not None else name)
        self.clients.append(client)
        return client

    async def client(self, name: str, client_id: str | None = None) -> Client:
        return await asyncio.to_thread(self.make(name, client_id).connect)

    async def controller(self) -> Client:
        """A controller that changes the policy live."""
        client = await self.client(CONTROLLER)
        loop = asyncio.get_running_loop()

        def take(topic: str, payload: bytes) -> None:
            if topic == RESPONSE_TOPIC:
                loop.call_soon_threadsafe(self.policy.answered, payload)
            else:
                client.messages.put((topic, payload))

        client.on_message(take)
        assert await asyncio.to_thread(client.subscribe, RESPONSE_TOPIC) < 128
        self.policy.attach(lambda topic, payload: asyncio.to_thread(client.send, topic, payload))
        return client


def request(name: str) -> tuple[str, str]:
    """A device's key and CSR."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem.decode(), csr.public_bytes(Encoding.PEM).decode()


def fleet_of(tmp_path: Path, options: BrokerOptions = QUICK) -> Fleet:
    authority = Authority.open(tmp_path / "authority")
    policy = BrokerPolicy([CONTROLLER, "controller-2"], timeout_s=5)
    policy.load([("board-a", "default"), ("board-b", "default"), ("board-c", "other")])
    broker = EmbeddedBroker(tmp_path / "broker", authority, policy, options)
    return Fleet(tmp_path, authority, policy, broker, 0, [])


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    made = fleet_of(tmp_path)
    _, made.port = await made.broker.start()
    yield made
    await asyncio.to_thread(lambda: [client.close() for client in made.clients])
    await made.broker.stop()


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition didn't come true in time"
        await asyncio.sleep(0.02)


async def received(client: Client) -> tuple[str, bytes]:
    return await asyncio.to_thread(client.messages.get, timeout=5)


# Who gets in


async def test_a_device_with_the_fleets_certificate_connects_without_a_password(fleet: Fleet) -> None:
    client = await fleet.client("board-a")
    assert await asyncio.to_thread(client.publish, topics.up("board-a", topics.Up.REPORTED)) in TAKEN


async def test_the_handshake_probe_of_these_tests_passes_with_a_devices_certificate(fleet: Fleet) -> None:
    assert not await asyncio.to_thread(handshake_fails, tls(fleet, fleet.files("board-a")), fleet.port)


async def test_a_client_without_a_certificate_is_refused(fleet: Fleet) -> None:
    context = ssl.create_default_context(cadata=fleet.authority.ca_pem)
    assert await asyncio.to_thread(handshake_fails, context, fleet.port)


async def test_a_certificate_of_another_ca_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    stranger = Authority.open(tmp_path / "stranger")
    key, csr = request("board-a")
    files = fleet.write("stranger", stranger.sign_csr(csr, "board-a", NOW), key)
    assert await asyncio.to_thread(handshake_fails, tls(fleet, files), fleet.port)


async def test_a_servers_certificate_is_no_clients(fleet: Fleet) -> None:
    files = fleet.write("server", *fleet.authority.server_certificate(CONTROLLER, ["localhost"], NOW))
    assert await asyncio.to_thread(handshake_fails, tls(fleet, files), fleet.port)


async def test_tls_1_2_is_refused(fleet: Fleet) -> None:
    context = tls(fleet, fleet.files("board-a"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert await asyncio.to_thread(handshake_fails, context, fleet.port)


async def test_an_ended_certificate_is_refused(fleet: Fleet) -> None:
    key, csr = request("board-a")
    files = fleet.write("ended", fleet.authority.sign_csr(csr, "board-a", NOW, days=0), key)
    assert await asyncio.to_thread(handshake_fails, tls(fleet, files), fleet.port)


async def test_another_client_id_does_not_take_over_its_connection(fleet: Fleet) -> None:
    victim = await fleet.client("board-a")
    await fleet.client("board-b", client_id="board-a")
    assert await asyncio.to_thread(victim.publish, topics.up("board-a", topics.Up.REPORTED)) in TAKEN
    assert victim.gone.empty()


async def test_a_certificate_that_has_no_client_in_the_policy_may_do_nothing(fleet: Fleet) -> None:
    client = await fleet.client("board-unknown")
    assert await asyncio.to_thread(client.publish, topics.up("board-unknown", topics.Up.REPORTED)) == NOT_AUTHORIZED
    assert await asyncio.to_thread(client.subscribe, topics.EPOCH) >= 128


# What a device may do


@pytest.mark.parametrize(
    "topic",
    [
        "lf/v1/d/board-b/up/reported",
        "lf/v1/d/board-a/down/desired",
        topics.EPOCH,
        topics.manifest("default", DIGEST),
        topics.chunk("default", DIGEST, 0),
        "$CONTROL/dynamic-security/v1",
        "anything",
    ],
)
async def test_a_device_cannot_publish_to(fleet: Fleet, topic: str) -> None:
    client = await fleet.client("board-a")
    assert await asyncio.to_thread(client.publish, topic) == NOT_AUTHORIZED


@pytest.mark.parametrize(
    "topic",
    [
        "lf/v1/d/board-b/down/#",
        "lf/v1/d/board-a/up/#",
        "lf/v1/d/+/down/desired",
        "lf/v1/#",
        "#",
        "lf/v1/a/#",
        topics.chunk("other", DIGEST, 0),
        "$share/group/lf/v1/d/+/up/+",
        "$share/group/lf/v1/d/board-a/down/#",
        "$CONTROL/dynamic-security/v1/response",
        "$SYS/#",
    ],
)
async def test_a_device_cannot_subscribe_to(fleet: Fleet, topic: str) -> None:
    client = await fleet.client("board-a")
    assert await asyncio.to_thread(client.subscribe, topic) >= 128


@pytest.mark.parametrize(
    "topic",
    ["lf/v1/d/board-a/down/#", topics.EPOCH, topics.manifest("default", DIGEST), topics.chunk("default", DIGEST, 7)],
)
async def test_a_device_gets_what_the_controller_publishes_to(fleet: Fleet, topic: str) -> None:
    device, controller = await fleet.client("board-a"), await fleet.client(CONTROLLER)
    assert await asyncio.to_thread(device.subscribe, topic) == 1
    sent = topic.replace("#", "desired")
    assert await asyncio.to_thread(controller.publish, sent, b"hello") == 0
    assert await received(device) == (sent, b"hello")


async def test_a_controller_reads_every_device_also_through_a_shared_subscription(fleet: Fleet) -> None:
    controller, device = await fleet.client(CONTROLLER), await fleet.client("board-c")
    assert await asyncio.to_thread(controller.subscribe, f"$share/telemetry/{topics.ALL_UP}") == 1
    topic = topics.up("board-c", topics.Up.TELEMETRY)
    assert await asyncio.to_thread(device.publish, topic, b"window") == 0
    assert await received(controller) == (topic, b"window")


async def test_no_message_is_lost_for_a_wildcard_subscriber_of_3000_retained_ones(fleet: Fleet) -> None:
    controller, device = await fleet.client(CONTROLLER), await fleet.client("board-a")

    def count() -> int:
        for n in range(3000):
            controller.send(topics.chunk("default", DIGEST, n), b"chunk", retain=True)
        for _ in range(3000):
            controller.events.get(timeout=5)
        device.subscribe("lf/v1/a/default/#")
        return len({device.messages.get(timeout=5)[0] for _ in range(3000)})

    assert await asyncio.to_thread(count) == 3000


# Live changes


async def test_a_granted_device_may_work_at_once(fleet: Fleet) -> None:
    await fleet.controller()
    await fleet.policy.grant("board-new", "default")
    client = await fleet.client("board-new")
    assert await asyncio.to_thread(client.subscribe, topics.chunk("default", DIGEST, 0)) == 1


async def test_a_grant_can_be_repeated(fleet: Fleet) -> None:
    await fleet.controller()
    await fleet.policy.grant("board-new", "default")
    await fleet.policy.grant("board-new", "default")
    client = await fleet.client("board-new")
    assert await asyncio.to_thread(client.subscribe, topics.EPOCH) == 1


async def test_a_grant_in_another_namespace_replaces_the_rights(fleet: Fleet) -> None:
    await fleet.controller()
    await fleet.policy.grant("board-a", "other")
    client = await fleet.client("board-a")
    assert await asyncio.to_thread(client.subscribe, topics.chunk("other", DIGEST, 0)) == 1
    assert await asyncio.to_thread(client.subscribe, topics.chunk("default", DIGEST, 0)) >= 128


async def test_revoking_ends_the_connection_at_once_and_for_good(fleet: Fleet) -> None:
    await fleet.controller()
    device = await fleet.client("board-a")
    started = time.monotonic()
    await fleet.policy.revoke("board-a")
    await asyncio.to_thread(device.gone.get, timeout=5)
    assert time.monotonic() - started < 1
    back = await fleet.client("board-a")
    assert await asyncio.to_thread(back.publish, topics.up("board-a", topics.Up.REPORTED)) == NOT_AUTHORIZED


async def test_revoking_a_device_that_is_not_there_is_no_error(fleet: Fleet) -> None:
    await fleet.controller()
    await fleet.policy.revoke("board-nobody")


async def test_a_device_cannot_change_the_policy(fleet: Fleet) -> None:
    device = await fleet.client("board-a")
    fleet.policy._timeout_s = 0.3
    fleet.policy.attach(lambda topic, payload: asyncio.to_thread(device.send, topic, payload))
    with pytest.raises(PolicyError, match="didn't confirm"):
        await fleet.policy.revoke("board-b")


async def test_what_was_not_confirmed_is_sent_when_the_link_is_back(fleet: Fleet) -> None:
    with pytest.raises(PolicyError, match="isn't connected"):
        await fleet.policy.grant("board-late", "default")
    await fleet.controller()
    await fleet.policy.settle()
    client = await fleet.client("board-late")
    assert await asyncio.to_thread(client.subscribe, topics.EPOCH) == 1


async def test_the_controllers_own_link_changes_the_policy_also_after_the_broker_was_killed(fleet: Fleet) -> None:
    (fleet.directory / "ca.pem").write_text(fleet.authority.ca_pem)
    context = client_tls(fleet.directory / "ca.pem", *fleet.files(CONTROLLER))
    link = MqttLink(BrokerAddress("localhost", fleet.port, context), CONTROLLER)
    await link.start()

    async def read() -> None:
        async for message in link.messages():
            if message.topic == RESPONSE_TOPIC:
                fleet.policy.answered(message.payload)

    reader = asyncio.create_task(read())
    try:
        await until(lambda: link.state.value.connected)
        await link.subscribe(RESPONSE_TOPIC)
        fleet.policy.attach(link.publish)
        await fleet.policy.grant("board-new", "default")
        assert fleet.broker.pid is not None
        os.kill(fleet.broker.pid, signal.SIGKILL)
        await until(lambda: link.state.value == LinkState(connected=True, generation=2))
        await fleet.policy.grant("board-newer", "default")
        for name in ("board-new", "board-newer"):
            client = await fleet.client(name)
            assert await asyncio.to_thread(client.subscribe, topics.EPOCH) == 1
    finally:
        await link.stop()
        await reader


# Its life


async def test_killed_it_is_started_again_on_the_same_port_with_the_same_policy(fleet: Fleet) -> None:
    await fleet.controller()
    await fleet.policy.grant("board-new", "default")
    await fleet.policy.revoke("board-b")
    first = fleet.broker.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: fleet.broker.pid not in {None, first})
    await until(lambda: accepts(fleet.port))
    new, revoked = await fleet.client("board-new"), await fleet.client("board-b")
    assert await asyncio.to_thread(new.subscribe, topics.EPOCH) == 1
    assert await asyncio.to_thread(revoked.subscribe, topics.EPOCH) >= 128


async def test_stopped_and_started_it_keeps_port_and_retained_messages(fleet: Fleet) -> None:
    controller = await fleet.client(CONTROLLER)
    assert await asyncio.to_thread(lambda: controller.publish(topics.EPOCH, b"7", retain=True)) in TAKEN
    await fleet.broker.stop()
    again = EmbeddedBroker(fleet.directory / "broker", fleet.authority, fleet.policy, QUICK)
    assert await again.start() == ("localhost", fleet.port)
    try:
        device = await fleet.client("board-a")
        assert await asyncio.to_thread(device.subscribe, topics.EPOCH) == 1
        assert await received(device) == (topics.EPOCH, b"7")
    finally:
        await again.stop()


async def test_a_wiped_folder_converges_to_the_list_of_devices(fleet: Fleet) -> None:
    await fleet.broker.stop()
    for path in (fleet.directory / "broker").iterdir():
        path.unlink()
    _, fleet.port = await fleet.broker.start()
    device = await fleet.client("board-a")
    assert await asyncio.to_thread(device.subscribe, topics.EPOCH) == 1


async def test_a_damaged_database_is_set_aside(fleet: Fleet) -> None:
    await fleet.broker.stop()
    (fleet.directory / "broker" / "mosquitto.db").write_bytes(b"\x00\xb5\x00mosquitto db" + b"\xff" * 100)
    _, fleet.port = await fleet.broker.start()
    assert accepts(fleet.port)
    assert (fleet.directory / "broker" / "mosquitto.damaged").exists()


async def test_everything_private_is_readable_by_its_owner_alone(fleet: Fleet) -> None:
    folder = fleet.directory / "broker"
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "server.key").stat().st_mode & 0o077 == 0


async def test_a_taken_port_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("litefleet_controller.delivery.broker.PORT_PATIENCE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        made = fleet_of(tmp_path, BrokerOptions(port=port))
        with pytest.raises(BrokerPortError, match=f"port {port} on 127.0.0.1 is taken"):
            await made.broker.start()


async def test_a_damaged_port_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    (tmp_path / "broker" / "port").write_text("a lot")
    with pytest.raises(BrokerPortError, match="'a lot', which is no port"):
        await fleet_of(tmp_path).broker.start()


@pytest.mark.parametrize("bind", [(), ("localhost",), ("127.0.0.1\nallow_anonymous true",)])
async def test_only_ip_addresses_are_listened_on(tmp_path: Path, bind: tuple[str, ...]) -> None:
    with pytest.raises(BrokerError, match="IP address"):
        await fleet_of(tmp_path, BrokerOptions(bind=bind)).broker.start()


async def test_it_listens_on_several_addresses(tmp_path: Path) -> None:
    made = fleet_of(tmp_path, BrokerOptions(bind=("127.0.0.1", "127.0.0.2")))
    _, port = await made.broker.start()
    try:
        assert accepts(port, "127.0.0.1")
        assert accepts(port, "127.0.0.2")
    finally:
        await made.broker.stop()


async def test_a_mosquitto_that_ends_at_once_is_reported_with_its_last_words(tmp_path: Path) -> None:
    made = fleet_of(tmp_path)
    program = find_program(os.environ)
    made.broker._program = BrokerProgram(program.executable, Path("/nonexistent/plugin.so"), None)
    with pytest.raises(BrokerError, match=r"ended at its start \(exit code \d+\).*/nonexistent/plugin.so"):
        await made.broker.start()


async def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "broker").write_text("a file")
    with pytest.raises(BrokerError, match="can't start the broker in"):
        await fleet_of(tmp_path).broker.start()


@pytest.fixture
def killed_controller(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """(pid of mosquitto, port) after the controller that started it was killed with SIGKILL."""
    program = textwrap.dedent(
        """
        import asyncio, pathlib, sys
        from datetime import UTC, datetime
        from litefleet_controller.delivery.broker import EmbeddedBroker
        from litefleet_controller.delivery.policy import BrokerPolicy
        from litefleet_controller.identity.authority import Authority

        async def main():
            directory = pathlib.Path(sys.argv[1])
            authority = Authority.open(directory / "authority")
            broker = EmbeddedBroker(directory / "broker", authority, BrokerPolicy(["controller-1"]))
            _, port = await broker.start()
            print(f"ready {broker.pid} {port}", flush=True)
            await asyncio.Event().wait()

        asyncio.run(main())
        """
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        ready = next(line for line in child.stdout if line.startswith("ready"))
        pid, port = (int(word) for word in ready.split()[1:])
    finally:
        child.kill()
        child.communicate()
    yield pid, port
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


async def test_it_ends_with_a_killed_controller(killed_controller: tuple[int, int]) -> None:
    pid, _ = killed_controller
    await until(lambda: not alive(pid))


def alive(pid: int) -> bool:
    # A zombie counts as ended: in a container nobody may reap it.
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def tls(fleet: Fleet, files: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=fleet.authority.ca_pem)
    context.load_cert_chain(*files)
    return context


def handshake_fails(context: ssl.SSLContext, port: int) -> bool:
    """Whether the broker ends the connection. In TLS 1.3 the client learns of it at its first read."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        try:
            with context.wrap_socket(raw, server_hostname="localhost") as secure:
                secure.sendall(b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x1e\x00\x00\x01x")  # CONNECT
                return secure.recv(1) == b""
        except (ssl.SSLError, ConnectionError):
            return True
