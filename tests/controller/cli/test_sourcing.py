"""Where files are fetched from, as `litefleet up` is told."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from litefleet_controller.cli import app
from litefleet_controller.cli.errors import UsageError
from litefleet_controller.cli.sourcing import source_policy

NOTHING = {"hosts": None, "buckets": None, "folders": None, "max_bytes": 1000, "ca_file": None, "s3_endpoint": None}


def test_without_options_nothing_is_fetched():
    policy = source_policy(**NOTHING)
    assert (policy.hosts, policy.buckets, policy.folders) == ((), (), ())


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("hosts", ["https://models.test"], "--source-host"),
        ("folders", [Path("/nowhere")], "--source-dir /nowhere"),
        ("ca_file", Path("/nowhere"), "--source-ca /nowhere"),
        ("s3_endpoint", "minio:9000", "--s3-endpoint"),
    ],
)
def test_an_option_that_cannot_be_meant_is_a_usage_error(option, value, says):
    with pytest.raises(UsageError, match=says):
        source_policy(**{**NOTHING, option: value})


def test_each_option_is_an_environment_variable():
    shown = CliRunner().invoke(app, ["up", "--help"], env={"COLUMNS": "200"}).output
    for name in ("LITEFLEET_SOURCE_HOST", "LITEFLEET_SOURCE_BUCKET", "LITEFLEET_SOURCE_DIR", "AWS_ENDPOINT_URL"):
        assert name in shown


def test_several_values_stand_in_one_environment_variable(tmp_path):
    shown = CliRunner().invoke(
        app,
        ["up", "--data-dir", str(tmp_path / "data")],
        env={"LITEFLEET_SOURCE_HOST": "a.test http://b", "LITEFLEET_SOURCE_DIR": f"{tmp_path}:{tmp_path}"},
    )
    assert isinstance(shown.exception, UsageError)
    assert "'http://b' is no host" in str(shown.exception)
