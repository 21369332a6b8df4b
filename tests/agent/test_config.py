"""The TOML file: every mistake is named by its key's path."""

import pytest

from litefleet_agent import config
from litefleet_agent.errors import AgentError

GOOD = """
[telemetry]
window_seconds = 2
[pipelines.digits]
source = {kind="directory", path="in", rate_hz=5, loop=false}
sink = {kind="file", path="out.jsonl"}
"""


def load(tmp_path, text):
    path = tmp_path / "agent.toml"
    path.write_text(text)
    return config.load(path)


def test_good_file_is_read_and_paths_are_relative_to_it(tmp_path):
    found = load(tmp_path, GOOD)
    digits = found.pipelines["digits"]
    assert (found.telemetry.window_seconds, digits.source.rate_hz, digits.source.loop) == (2, 5, False)
    assert (digits.source.path, digits.sink.path) == (str(tmp_path / "in"), str(tmp_path / "out.jsonl"))


def test_without_a_file_the_defaults_hold():
    assert config.load(None) == config.Config()


def pipeline(source='{kind="directory", path="in"}', sink='{kind="none"}', slot="digits", more=""):
    return f"[pipelines.{slot}]\nsource = {source}\nsink = {sink}\n{more}"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("telemetri = 1", "telemetri"),
        ("[telemetry]\nwindow = 1", "telemetry.window"),
        ("[telemetry]\nwindow_seconds = 'x'", "telemetry.window_seconds"),
        ("[telemetry]\nwindow_seconds = 0", "telemetry.window_seconds"),
        ("[telemetry]\nwindow_seconds = nan", "telemetry.window_seconds"),
        (pipeline(source='{kind="camera"}'), "pipelines.digits.source.kind"),
        (pipeline(source='{kind="directory"}'), "pipelines.digits.source"),
        (pipeline(source='{kind="directory", path="a", lop=true}'), "pipelines.digits.source.lop"),
        (pipeline(source='{kind="directory", path="a", rate_hz=-1}'), "pipelines.digits.source.rate_hz"),
        (pipeline(sink='{kind="mqtt"}'), "pipelines.digits.sink.kind"),
        (pipeline(more="extra = 1"), "pipelines.digits.extra"),
        (pipeline(slot="Digits"), "pipelines.Digits"),
        ("pipelines = 3", "pipelines"),
        ("[runtime]\nthreads = 0", "runtime.threads"),
    ],
)
def test_mistake_is_named_by_its_path(tmp_path, text, field):
    with pytest.raises(AgentError) as caught:
        load(tmp_path, text)
    assert caught.value.field == field


@pytest.mark.parametrize("text", ["= nonsense", "[a]\n[a]"])
def test_file_that_is_not_toml_says_where(tmp_path, text):
    with pytest.raises(AgentError, match="line"):
        load(tmp_path, text)


def test_missing_file_is_one_clear_error(tmp_path):
    with pytest.raises(AgentError, match="can't read"):
        config.load(tmp_path / "none.toml")
