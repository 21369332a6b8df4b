"""A controller that can't write for a while, as people see it: what it answers meanwhile, and when it goes on."""

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from litefleet_controller.cli.kubeconfig import load
from tests.faults.shipped import Json, Shipped

_TEMPLATES = "/apis/litefleet.dev/v1alpha1/namespaces/default/analysistemplates"
_METRIC = {"name": "errors", "metric": "errorRate", "maxIncrease": 0.1}


@dataclass
class Asked:
    """What a person who writes one object after the other was told."""

    fleet: Shipped
    padding: int = 0
    """Bytes that each object carries beside the rest."""
    acknowledged: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    """By code."""
    wrong: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    """The longest wait for an answer."""
    _number: int = 0

    def __post_init__(self) -> None:
        target = load(self.fleet.kubeconfig, None)
        headers = {"Authorization": f"Bearer {target.token}"}
        self._http = httpx.Client(base_url=target.server, verify=target.tls(), headers=headers, timeout=40)

    def close(self) -> None:
        """Ask nothing more."""
        self._http.close()

    def write(self, code: str) -> bool:
        """One more object; whether it was acknowledged. A refusal is to be 503 `code` with a hint and a time."""
        self._number += 1
        name = f"written-{self._number}"
        metadata = {"name": name, "annotations": {"padding": "x" * self.padding}}
        body = {"apiVersion": "litefleet.dev/v1alpha1", "kind": "AnalysisTemplate", "metadata": metadata}
        answer = self._ask("POST", _TEMPLATES, {**body, "spec": {"metrics": [_METRIC]}})
        if answer is None:
            return False
        if answer.status_code == 201:
            self.acknowledged.append(name)
            return True
        self._judge("a write", answer, code)
        return False

    def readiness(self, code: str) -> bool:
        """Whether `/readyz` says that it is ready; when not, it must say `code`."""
        answer = self._ask("GET", "/readyz", None)
        if answer is None:
            return False
        if answer.status_code != 200:
            self._judge("readyz", answer, code)
        return answer.status_code == 200

    def read(self) -> None:
        """Reads go on."""
        answer = self._ask("GET", _TEMPLATES, None)
        if answer is not None and answer.status_code != 200:
            self.wrong.append(f"a read got {answer.status_code}")

    def lost(self) -> list[str]:
        """What was acknowledged and isn't there."""
        answer = self._ask("GET", _TEMPLATES, None)
        there = {i["metadata"]["name"] for i in answer.json()["items"]} if answer is not None else set()
        return [name for name in self.acknowledged if name not in there]

    def _ask(self, method: str, path: str, body: Json | None) -> httpx.Response | None:
        began = time.monotonic()
        try:
            return self._http.request(method, path, json=body)
        except httpx.HTTPError as e:
            self.wrong.append(f"{method} {path}: {type(e).__name__} {e}")
            return None
        finally:
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)

    def _judge(self, what: str, answer: httpx.Response, code: str) -> None:
        try:
            status: dict[str, Any] = answer.json()
        except json.JSONDecodeError:
            status = {}
        causes = [c.get("code") for c in status.get("details", {}).get("causes", [])]
        said = causes[0] if causes else f"{answer.status_code}"
        self.refused[said] += 1
        complete = status.get("kind") == "Status" and answer.headers.get("retry-after") and ":" in status["message"]
        if (answer.status_code, said) != (503, code) or not complete:
            self.wrong.append(f"{what} got {answer.status_code} {answer.text[:200]}")


def seconds_until(condition: Callable[[], object], patience_s: float) -> float:
    """How long it took; infinite when it took longer than is waited for."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > patience_s:
            return float("inf")
        time.sleep(0.1)
    return time.monotonic() - began


def tracebacks(directory: Path) -> list[str]:
    """The controller's log lines that show one."""
    return [
        line[:300]
        for log in directory.glob("controller-*.log")
        for line in log.read_text(errors="replace").splitlines()
        if "Traceback" in line
    ]
