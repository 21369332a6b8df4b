"""`litefleet` as one of two controllers on one database and one broker, which `litefleet up` alone never is.

`python -m tests.replicated_controller JSON FOLDER up ...`, FOLDER as in tests/counting_controller.py. JSON says what
differs from the real program: `guests` (names that the broker lets in as replicas, too), or `broker` (the port of the
first one's broker, in place of an own) with `name` (this replica's), and `lease_s` for short samples.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.counting_controller import Plan, count_commits, run_litefleet


class _Elsewhere:
    """Stands in place of the embedded broker: the other controller runs it."""

    port = 0

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    async def start(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    async def stop(self) -> None:
        pass


class _Named:
    """Stands in place of `secrets` where the replica's name is made."""

    name = ""

    @classmethod
    def token_hex(cls, _bytes: int) -> str:
        return cls.name


def differ(wish: dict[str, Any]) -> None:
    """Make this process's controller what `wish` says."""
    from litefleet_controller.app import delivery, serving
    from litefleet_controller.delivery.policy import BrokerPolicy
    from litefleet_controller.reconcile import leadership

    class Hospitable(BrokerPolicy):
        def __init__(self, controllers: Sequence[str]) -> None:
            super().__init__([*controllers, *wish.get("guests", ())])

    delivery.BrokerPolicy = Hospitable  # type: ignore[misc]
    if "broker" in wish:
        _Elsewhere.port, _Named.name = wish["broker"], wish["name"]
        delivery.EmbeddedBroker = _Elsewhere  # type: ignore[assignment,misc]
        serving.secrets = _Named  # type: ignore[assignment]
    if "lease_s" in wish:
        leadership.LEASE_S, leadership.RENEW_S = wish["lease_s"], wish["lease_s"] / 4


if __name__ == "__main__":
    differ(json.loads(sys.argv.pop(1)))
    count_commits(Plan(Path(sys.argv.pop(1))))
    run_litefleet()
