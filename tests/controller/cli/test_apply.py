import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.controller.cli.conftest import CLASS, ROLLOUT, Shell, manifest

KUBECTL = Path(sys.executable).with_name("kubectl")


def test_apply_creates_then_finds_nothing_to_do(shell: Shell) -> None:
    path = shell.write("m.yaml", CLASS + "---\n" + ROLLOUT)
    assert shell.ok("apply", "-f", path) == (
        "deviceclass.litefleet.dev/rpi-4 created\nmodelrollout.litefleet.dev/line-a created\n"
    )
    before = shell.object("ModelRollout", "line-a")
    assert shell.ok("apply", "-f", path) == (
        "deviceclass.litefleet.dev/rpi-4 unchanged\nmodelrollout.litefleet.dev/line-a unchanged\n"
    )
    assert shell.object("ModelRollout", "line-a") == before


def test_apply_changes_what_the_manifest_changed(shell: Shell) -> None:
    shell.ok("apply", "-f", shell.write("m.yaml", CLASS))
    path = shell.write("m.yaml", CLASS.replace("[int8, float16]", "[float32]"))
    assert shell.ok("apply", "-f", path) == "deviceclass.litefleet.dev/rpi-4 configured\n"
    assert shell.object("DeviceClass", "rpi-4")["spec"]["variants"] == ["float32"]


def test_apply_removes_what_the_manifest_dropped_and_leaves_what_others_set(shell: Shell) -> None:
    shell.ok("apply", "-f", shell.write("m.yaml", ROLLOUT + "  successThreshold: 90%\n"))
    shell.ok("rollout", "pause", "line-a")
    shell.ok("apply", "-f", shell.write("m.yaml", ROLLOUT))
    spec = shell.object("ModelRollout", "line-a")["spec"]
    assert spec["successThreshold"] == 100.0
    assert spec["paused"] is True


def test_neither_of_two_documents_is_applied_when_the_second_is_bad(shell: Shell) -> None:
    bad = ROLLOUT.replace("setWeight: 5", "setWeight: 101")
    error = shell.refused("apply", "-f", shell.write("m.yaml", CLASS + "---\n" + bad))
    assert error.startswith("error: ")
    assert "document 2" in error
    assert "spec.strategy.canary.steps[0].setWeight" in error
    assert "OutOfRange" in error
    assert shell("get", "deviceclasses").out == ""


def test_an_unknown_field_is_refused_with_the_nearest_name(shell: Shell) -> None:
    error = shell.refused("apply", "-f", shell.write("m.yaml", ROLLOUT.replace("strategy:", "stratgy:")))
    assert "spec.stratgy" in error
    assert "strategy" in error.replace("stratgy", "")
    assert "UnknownField" in error


BAD = {
    "nothing": ("", "EmptyDocument"),
    "a list": ("- a\n- b\n", "TypeError"),
    "a scalar": ("hello", "TypeError"),
    "a duplicate key": (CLASS + "spec: {}\n", "DuplicateKey"),
    "a python tag": (CLASS + "extra: !!python/object:os.system {}\n", "YamlTagForbidden"),
    "broken YAML": ("a: [", "YamlSyntax"),
    "another kind": (CLASS.replace("DeviceClass", "Deployment"), "NotFound"),
    "another version": (CLASS.replace("v1alpha1", "v9"), "NotFound"),
    "no kind": ("apiVersion: litefleet.dev/v1alpha1\n", "Required"),
    "no name": ("apiVersion: litefleet.dev/v1alpha1\nkind: Model\n", "Required"),
    "a path for a name": (CLASS.replace("name: rpi-4", "name: ../x"), "InvalidName"),
    "look-alike letters": (CLASS.replace("name: rpi-4", "name: r\u0440i-4"), "InvalidName"),
    "another namespace than the one named": (
        CLASS.replace("name: rpi-4", "name: rpi-4\n  namespace: other"),
        "BadRequest",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_manifest_gets_one_line_with_a_code(shell: Shell, case: str) -> None:
    text, code = BAD[case]
    error = shell.refused("apply", "-n", shell.namespace, "-f", shell.write("m.yaml", text))
    assert error.startswith("error: ")
    assert f"({code})" in error
    assert "\n" not in error


def test_an_unknown_kind_is_answered_with_what_is_served(shell: Shell) -> None:
    error = shell.refused("apply", "-f", shell.write("m.yaml", CLASS.replace("DeviceClass", "Deployment")))
    assert "ModelRollout (litefleet.dev/v1alpha1)" in error


def test_a_file_that_is_not_there(shell: Shell) -> None:
    assert "No such file" in shell.refused("apply", "-f", shell.directory / "nothing.yaml")


def test_apply_without_a_file_is_wrong_usage(shell: Shell) -> None:
    assert "-f" in shell.refused("apply", code=2)


def test_a_folder_and_standard_input_are_read(shell: Shell) -> None:
    shell.write("d/1.yaml", CLASS)
    shell.write("d/sub/2.json", json.dumps({**_parsed(CLASS), "metadata": {"name": "gateway"}}))
    shell.write("d/notes.txt", "not a manifest")
    out = shell.ok("apply", "-f", shell.directory / "d", "-f", "-", stdin=ROLLOUT.encode())
    assert [line.split()[0].partition("/")[2] for line in out.splitlines()] == ["rpi-4", "gateway", "line-a"]


def test_dry_run_checks_and_changes_nothing(shell: Shell) -> None:
    path = shell.write("m.yaml", CLASS)
    assert shell.ok("apply", "--dry-run", "-f", path) == "deviceclass.litefleet.dev/rpi-4 created (dry run)\n"
    assert shell("get", "deviceclasses").out == ""


def test_a_namespace_and_what_is_in_it_are_applied_together(shell: Shell) -> None:
    name = f"{shell.namespace}-new"
    namespace = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"
    inside = CLASS.replace("name: rpi-4", f"name: rpi-4\n  namespace: {name}")
    path = shell.write("m.yaml", namespace + "---\n" + inside)
    expected = f"namespace/{name} created\ndeviceclass.litefleet.dev/rpi-4 created\n"
    assert shell.ok("apply", "-f", path) == expected
    assert shell.ok("apply", "-f", path) == expected.replace("created", "unchanged")


def test_a_bad_document_in_a_new_namespace_stops_everything(shell: Shell) -> None:
    name = f"{shell.namespace}-bad"
    namespace = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"
    inside = CLASS.replace("name: rpi-4", f"name: rpi-4\n  namespace: {name}").replace("[int8, float16]", "[]")
    error = shell.refused("apply", "-f", shell.write("m.yaml", namespace + "---\n" + inside))
    assert "spec.variants" in error
    assert name not in shell.ok("get", "namespaces")


def test_what_get_prints_can_be_applied(shell: Shell) -> None:
    shell.ok("apply", "-f", shell.write("m.yaml", CLASS + "---\n" + ROLLOUT))
    before = shell.object("DeviceClass", "rpi-4")
    printed = shell.ok("get", "deviceclasses", "-o", "yaml")
    shell.ok("apply", "-f", "-", stdin=printed.encode())
    assert shell.object("DeviceClass", "rpi-4")["spec"] == before["spec"]


def kubectl(shell: Shell, *arguments: object) -> str:
    command = [KUBECTL, "--kubeconfig", shell.kubeconfig, f"--cache-dir={shell.directory / 'cache'}", *arguments]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done
    return done.stdout


def test_kubectl_and_litefleet_apply_take_turns(shell: Shell) -> None:
    text = ROLLOUT + "  successThreshold: 90%\n"
    path = shell.write("m.yaml", text)
    shell.ok("apply", "-f", path)
    assert kubectl(shell, "apply", "-f", path) == "modelrollout.litefleet.dev/line-a unchanged\n"

    path.write_text(ROLLOUT)
    kubectl(shell, "apply", "-f", path)
    assert shell.object("ModelRollout", "line-a")["spec"]["successThreshold"] == 100.0
    assert shell.ok("apply", "-f", path) == "modelrollout.litefleet.dev/line-a unchanged\n"

    path.write_text(text)
    kubectl(shell, "apply", "-f", path)
    path.write_text(ROLLOUT)
    shell.ok("apply", "-f", path)
    assert shell.object("ModelRollout", "line-a")["spec"]["successThreshold"] == 100.0


def test_labels_with_characters_that_go_escapes_agree_with_kubectl(shell: Shell) -> None:
    path = shell.write(
        "m.yaml", manifest("DeviceClass", "c", "variants: [int8]", annotations={"note": "a < b & c > d, ü, 1.0"})
    )
    shell.ok("apply", "-f", path)
    assert "unchanged" in kubectl(shell, "apply", "-f", path)


def _parsed(text: str) -> dict:
    from litefleet_controller.resources.manifest import parse_documents

    return parse_documents(text, source_name="t")[0]
