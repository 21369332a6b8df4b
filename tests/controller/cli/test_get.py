import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import yaml

from tests.controller.cli.conftest import CLASS, ROLLOUT, Shell, clock, eventually, manifest


def add_devices(shell: Shell, *names: str) -> None:
    documents = [manifest("Device", n, "class: rpi-4", labels={"site": n[-1]}) for n in names]
    shell.ok("apply", "-f", "-", stdin="---\n".join(documents).encode())


def test_a_table_has_the_servers_columns_aligned(shell: Shell) -> None:
    shell.ok("apply", "-f", shell.write("m.yaml", CLASS))
    header, row = shell.ok("get", "deviceclass").splitlines()
    assert header.split() == ["NAME", "RUNTIME", "VARIANTS", "DEVICES", "AGE"]
    assert row.startswith("rpi-4")
    assert header.index("RUNTIME") == row.index("litert")


@pytest.mark.parametrize("word", ["devices", "device", "dev", "Device", "devices.litefleet.dev"])
def test_kinds_go_by_all_their_names(shell: Shell, word: str) -> None:
    add_devices(shell, "pi-a")
    assert "pi-a" in shell.ok("get", word)


def test_wide_shows_more_columns(shell: Shell) -> None:
    add_devices(shell, "pi-a")
    assert "CODE" not in shell.ok("get", "dev")
    assert "CODE" in shell.ok("get", "dev", "-o", "wide")


def test_json_yaml_and_names(shell: Shell) -> None:
    add_devices(shell, "pi-a", "pi-b")
    assert [i["metadata"]["name"] for i in json.loads(shell.ok("get", "dev", "-o", "json"))["items"]] == [
        "pi-a",
        "pi-b",
    ]
    one = yaml.safe_load(shell.ok("get", "dev", "pi-a", "-o", "yaml"))
    assert (one["kind"], one["metadata"]["name"]) == ("Device", "pi-a")
    assert shell.ok("get", "dev", "-o", "name") == "device.litefleet.dev/pi-a\ndevice.litefleet.dev/pi-b\n"


def test_names_and_references_select(shell: Shell) -> None:
    add_devices(shell, "pi-a", "pi-b", "pi-c")
    assert shell.ok("get", "dev", "pi-a", "pi-c", "-o", "name").count("\n") == 2
    assert shell.ok("get", "device/pi-b", "-o", "name") == "device.litefleet.dev/pi-b\n"


def test_label_and_field_selectors_select(shell: Shell) -> None:
    add_devices(shell, "pi-a", "pi-b")
    assert shell.ok("get", "dev", "-l", "site=b", "-o", "name") == "device.litefleet.dev/pi-b\n"
    assert (
        shell.ok("get", "dev", "--field-selector", "metadata.name=pi-a", "-o", "name") == "device.litefleet.dev/pi-a\n"
    )


def test_all_namespaces_have_a_column(shell: Shell) -> None:
    add_devices(shell, "pi-a")
    out = shell.ok("get", "dev", "-A", "-l", "site=a")
    assert out.startswith("NAMESPACE")
    assert any(line.split()[:2] == [shell.namespace, "pi-a"] for line in out.splitlines())


def test_many_pages_are_one_list(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("litefleet_controller.cli.reading.PAGE", 2)
    add_devices(shell, *(f"pi-{c}" for c in "abcde"))
    assert shell.ok("get", "dev", "-o", "name").count("\n") == 5
    assert shell.ok("get", "dev").count("\n") == 6


def test_an_empty_list_says_so_beside_the_answer(shell: Shell) -> None:
    result = shell("get", "models")
    assert (result.code, result.out) == (0, "")
    assert result.err == f"no models found in namespace {shell.namespace}\n"


def test_something_that_is_not_there(shell: Shell) -> None:
    assert shell.refused("get", "dev", "nope") == 'error: devices.litefleet.dev "nope" not found (NotFound)'


def test_an_unknown_kind_is_answered_with_the_nearest(shell: Shell) -> None:
    error = shell.refused("get", "devcies")
    assert "did you mean 'devices'?" in error
    assert "modelrollouts" in error


def test_a_bad_selector_is_one_line(shell: Shell) -> None:
    assert shell.refused("get", "dev", "-l", "a b=").startswith("error: ")


@pytest.mark.parametrize(
    "arguments", [("get",), ("get", "dev", "-o", "xml"), ("get", "dev", "-w", "-o", "json"), ("get", "dev", "a", "-A")]
)
def test_wrong_usage_is_exit_code_2(shell: Shell, arguments: tuple[str, ...]) -> None:
    shell.refused(*arguments, code=2)


def test_namespaces_can_be_listed(shell: Shell) -> None:
    assert shell.namespace in shell.ok("get", "ns")


def test_describe_shows_spec_conditions_and_events(shell: Shell) -> None:
    shell.ok("apply", "-f", shell.write("m.yaml", ROLLOUT))
    condition = {
        "type": "Healthy", "status": "False", "reason": "Waiting", "message": "waits for boards",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    classes = [{"deviceClass": "rpi-4", "state": "Aborted", "cause": "ConfidenceDrift", "message": "0.58 against 0.96"}]
    shell.set_status("ModelRollout", "line-a", {"phase": "Degraded", "conditions": [condition], "classes": classes})
    uid = shell.object("ModelRollout", "line-a")["metadata"]["uid"]
    shell.controller.run(
        shell.controller.events.record(
            shell.key("ModelRollout", "line-a"), uid, "Warning", "Aborted", "took it back", clock(), "rollout"
        )
    )
    out = shell.ok("describe", "rollout", "line-a")
    assert "Name:        line-a" in out
    assert "setWeight: 5" in out
    assert any(line.split()[:3] == ["Healthy", "False", "Waiting"] for line in out.splitlines())
    assert "ConfidenceDrift: 0.58 against 0.96" in out
    assert any(line.split()[:2] == ["Warning", "Aborted"] for line in out.splitlines())
    assert "last-applied" not in out


def test_describe_shows_what_a_version_is_for_each_class(shell: Shell) -> None:
    digest = "sha256:" + "0" * 64
    uri = f"blob://{digest}"
    spec = f"modelRef: digits\nversion: 1\nsource: {{uri: '{uri}'}}\nevaluation: {{uri: '{uri}'}}"
    shell.ok("apply", "-f", "-", stdin=manifest("ModelVersion", "digits-v1", spec).encode())
    variant = {"recipe": "float16", "artifact": digest, "digest": digest, "sizeBytes": 2048, "agreement": 0.995}
    refusal = {"recipe": "int8", "code": "AgreementLow", "message": "0.61, and 0.95 is needed"}
    ready = {"deviceClass": "rpi-4", "state": "Ready", "variant": variant, "refusals": [refusal]}
    shell.set_status("ModelVersion", "digits-v1", {"phase": "Ready", "classes": [ready]})
    out = shell.ok("describe", "mv", "digits-v1")
    assert any(line.split() == ["rpi-4", "Ready", "float16", "2.0", "KiB", "99.5%", "-"] for line in out.splitlines())
    assert "rpi-4 refused int8: 0.61, and 0.95 is needed (AgreementLow)" in out


def test_delete_by_name_and_by_manifest(shell: Shell) -> None:
    path = shell.write("m.yaml", CLASS + "---\n" + ROLLOUT)
    shell.ok("apply", "-f", path)
    assert shell.ok("delete", "dc", "rpi-4") == "deviceclass.litefleet.dev/rpi-4 deleted\n"
    assert shell.ok("delete", "-f", path, "--ignore-not-found") == "modelrollout.litefleet.dev/line-a deleted\n"
    assert shell("get", "rollout").out == ""


def test_delete_of_what_is_not_there(shell: Shell) -> None:
    assert "(NotFound)" in shell.refused("delete", "dc", "nope")
    assert shell.ok("delete", "dc", "nope", "--ignore-not-found") == ""


def test_delete_says_when_a_finalizer_holds_it(shell: Shell) -> None:
    shell.ok(
        "apply", "-f", "-", stdin=manifest("DeviceClass", "c", "variants: [int8]", finalizers=["test/hold"]).encode()
    )
    assert shell.ok("delete", "dc/c") == "deviceclass.litefleet.dev/c deleted (waits for test/hold)\n"


@pytest.mark.parametrize("arguments", [("delete",), ("delete", "dc"), ("delete", "dc", "x", "-f", "y")])
def test_delete_wants_to_know_what(shell: Shell, arguments: tuple[str, ...]) -> None:
    shell.refused(*arguments, code=2)


@contextmanager
def running(shell: Shell, *arguments: str) -> Iterator[list[str]]:
    """`litefleet` as a process; the lines that it has printed so far."""
    command = [sys.executable, "-c", "from litefleet_controller.cli import main; main()", *arguments]
    environment = {**os.environ, "LITEFLEET_KUBECONFIG": str(shell.kubeconfig)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        lines: list[str] = []
        assert process.stdout is not None
        reader = threading.Thread(target=lambda out: lines.extend(iter(out.readline, "")), args=(process.stdout,))
        reader.start()
        try:
            yield lines
        finally:
            process.terminate()
            reader.join(10)


def test_a_watch_prints_what_is_there_and_then_changes(shell: Shell) -> None:
    add_devices(shell, "pi-a")
    with running(shell, "get", "dev", "-w") as lines:
        eventually(lambda: len(lines) == 2)
        add_devices(shell, "pi-b")
        eventually(lambda: any(line.startswith("pi-b") for line in lines))
        shell.set_status("Device", "pi-a", {"connection": "Online"})
        eventually(lambda: any(line.split()[:3] == ["pi-a", "rpi-4", "Online"] for line in lines))
    assert sum(line.startswith("NAME") for line in lines) == 1


def test_a_watch_of_one_object_leaves_the_others_out(shell: Shell) -> None:
    add_devices(shell, "pi-a", "pi-b")
    with running(shell, "get", "dev", "pi-a", "-w", "-o", "name") as lines:
        eventually(lambda: len(lines) == 1)
        shell.set_status("Device", "pi-b", {"connection": "Online"})
        shell.set_status("Device", "pi-a", {"connection": "Online"})
        eventually(lambda: len(lines) == 2)
    assert set(lines) == {"device.litefleet.dev/pi-a\n"}


def test_a_watch_of_something_that_is_not_there_says_so(shell: Shell) -> None:
    assert "(NotFound)" in shell.refused("get", "dev", "nope", "-w")
