"""A broker that sends what no honest one would: just enough of MQTT 5 to be connected to, for tests of both links."""

import socket
import threading

CONNECT, PUBLISH, SUBSCRIBE, PING = 1, 3, 8, 12


class HostileBroker:
    """Answers one connection and, after its first subscription, publishes `messages` (topic and payload, both bytes)."""

    def __init__(self, messages: list[tuple[bytes, bytes]]) -> None:
        self._messages = messages
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listening.close()

    def _serve(self) -> None:
        try:
            client, _ = self._listening.accept()
        except OSError:
            return
        with client, client.makefile("rb") as stream:
            while (head := stream.read(1)) != b"":
                self._answer(client, head[0], stream.read(_length(stream)))

    def _answer(self, client: socket.socket, head: int, body: bytes) -> None:
        match head >> 4:
            case kind if kind == CONNECT:
                client.sendall(b"\x20\x03\x00\x00\x00")
            case kind if kind == SUBSCRIBE:
                client.sendall(b"\x90" + _sized(body[:2] + b"\x00" + b"\x01" * _filters(body)))
                for topic, payload in self._messages:
                    client.sendall(b"\x30" + _sized(len(topic).to_bytes(2, "big") + topic + b"\x00" + payload))
                self._messages = []
            case kind if kind == PUBLISH and head & 0x06:
                skip = 2 + int.from_bytes(body[:2], "big")
                client.sendall(b"\x40\x02" + body[skip : skip + 2])
            case kind if kind == PING:
                client.sendall(b"\xd0\x00")


def _length(stream: object) -> int:
    """A variable byte integer (MQTT 5, 1.5.5)."""
    value, shift = 0, 0
    while True:
        byte = stream.read(1)[0]  # type: ignore[attr-defined]
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value


def _sized(body: bytes) -> bytes:
    size, left = b"", len(body)
    while True:
        size += bytes([left % 128 | (0x80 if left > 127 else 0)])
        left //= 128
        if not left:
            return size + body


def _filters(body: bytes) -> int:
    place, found = 3 + body[2], 0
    while place < len(body):
        place += 3 + int.from_bytes(body[place : place + 2], "big")
        found += 1
    return found
