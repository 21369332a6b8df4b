"""A wire to a site of its own: a network namespace behind a veth pair, which can be cut without either end being told."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Wire:
    """Programs started with `prefix` reach this machine at `host`, and nothing else."""

    def __init__(self, name: str, net: int) -> None:
        self.prefix = ("ip", "netns", "exec", name)
        self.host = f"10.254.{net}.1"
        self._name = name
        self._here, self._there = f"{name}-a", f"{name}-b"
        self._ip("netns", "add", name)
        try:
            self._ip("link", "add", self._here, "type", "veth", "peer", "name", self._there)
            self._ip("link", "set", self._there, "netns", name)
            self._ip("addr", "add", f"{self.host}/30", "dev", self._here)
            self._ip("link", "set", self._here, "up")
            self._ip("-n", name, "addr", "add", f"10.254.{net}.2/30", "dev", self._there)
            self._ip("-n", name, "link", "set", "lo", "up")
            self.join()
        except BaseException:
            self.close()
            raise

    def cut(self) -> None:
        """Nothing passes from now on; no connection is told."""
        self._ip("-n", self._name, "link", "set", self._there, "down")

    def join(self) -> None:
        """It is whole again."""
        self._ip("-n", self._name, "link", "set", self._there, "up")

    def lossy(self, percent: float) -> bool:
        """Lose packets towards the boards; False when the kernel can't (netem)."""
        shaping = ("tc", "qdisc", "replace", "dev", self._here, "root", "netem", "loss", f"{percent:g}%")
        return subprocess.run(shaping, capture_output=True, timeout=20, check=False).returncode == 0

    def sound(self) -> None:
        """Lose no packets any more."""
        shaping = ("tc", "qdisc", "del", "dev", self._here, "root")
        subprocess.run(shaping, capture_output=True, timeout=20, check=False)

    @property
    def sent_bytes(self) -> int:
        """What went to the boards so far, headers included."""
        return int(Path(f"/sys/class/net/{self._here}/statistics/tx_bytes").read_text())

    def close(self) -> None:
        self._ip("netns", "del", self._name)  # the pair goes with it

    @staticmethod
    def _ip(*arguments: str) -> None:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"


def why_not() -> str:
    """Why there can be no namespaces here; empty when there can."""
    if shutil.which("ip") is None:
        return "there is no `ip` (scripts/get-iproute2)"
    name = f"lf{secrets.token_hex(3)}"
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode != 0:
        return f"network namespaces are not permitted: {done.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", name], check=True, timeout=20)
    return ""


@contextmanager
def wire() -> Iterator[Wire]:
    """A wire, whole at first."""
    made = Wire(f"lf{secrets.token_hex(3)}", net=os.getpid() % 250)
    try:
        yield made
    finally:
        made.close()
