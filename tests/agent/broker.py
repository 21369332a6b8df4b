"""A real mosquitto for the agent's tests: plain on loopback, or with mutual TLS."""

import socket
import subprocess
import threading
import time
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

MOSQUITTO = "/usr/sbin/mosquitto"
PLAIN = "allow_anonymous true"
MUTUAL_TLS = """
allow_anonymous false
cafile {folder}/ca.pem
certfile {folder}/server.pem
keyfile {folder}/server-key.pem
require_certificate true
use_identity_as_username true
tls_version tlsv1.3
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Broker:
    """One mosquitto process; nothing of it outlives a restart unless `persistent`."""

    def __init__(self, folder: Path, settings: str = PLAIN) -> None:
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        user = "user root" if Path("/root").exists() else ""
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\n{user}\nmax_queued_messages 20000\nset_tcp_nodelay true\n"
            f"use_username_as_clientid false\n{settings.format(folder=folder)}\n"
        )
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(self._answers, "mosquitto listens")

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def until(condition, what: str, timeout_s: float = 20.0):
    """Poll `condition` until it is true; its value."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {timeout_s} s: {what}")


class Client:
    """A controller's or a spectator's connection: publishes, and remembers all that comes in."""

    def __init__(self, port: int, topics: list[str], tls=None, name: str = "") -> None:
        self.messages: list[tuple[str, bytes, bool]] = []
        self._lock = threading.Lock()
        self._subscribed = threading.Event()
        self._topics = topics
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
        if tls is not None:
            self._client.tls_set_context(tls)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(10)

    def _on_connect(self, client, *_):
        client.subscribe([(t, 1) for t in self._topics or ["none"]])

    def _on_message(self, _client, _user, message):
        with self._lock:
            self.messages.append((message.topic, message.payload, message.retain))

    def publish(self, topic: str, payload: bytes, retain: bool = True) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(10)

    def received(self, suffix: str) -> list[bytes]:
        with self._lock:
            return [payload for topic, payload, _ in self.messages if topic.endswith(suffix)]

    def wait_subscribed_again(self) -> None:
        """After the broker was killed and started: paho reconnects by itself."""
        self._subscribed.clear()
        until(self._subscribed.is_set, "subscribed again")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
