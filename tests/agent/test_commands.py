"""What the command line says of a board's folder, whatever state that is in."""

import json

import pytest

from litefleet_agent import identity
from litefleet_agent.fileio import Disk
from litefleet_agent.main import main
from litefleet_protocol.enrollment import EnrollResponse


@pytest.fixture
def enrolled(tmp_path, key):
    """A board's folder after enrollment."""
    identity.staging_directory(tmp_path).mkdir()
    answer = EnrollResponse(
        fleet="fleet1",
        namespace="default",
        device="pi-1",
        device_class="rpi-4",
        certificate="",
        ca="",
        broker_host="-",
        broker_port=1,
        signing_keys=(key.pinned,),
    )
    identity.save(Disk(), tmp_path, answer)
    return tmp_path


@pytest.mark.parametrize("torn", [b'{"fleet":"fle', b"\0" * 100, b"\xff\xfe"], ids=["half", "empty page", "no text"])
def test_status_without_a_report_when_a_power_cut_tore_it(enrolled, capsys, torn):
    (enrolled / "reported.json").write_bytes(torn)
    assert main(["status", "--json", "--state-dir", str(enrolled)]) == 0
    assert json.loads(capsys.readouterr().out)["lastReport"] is None


def test_status_shows_the_last_report(enrolled, capsys):
    (enrolled / "reported.json").write_text('{"counter": 7}')
    assert main(["status", "--json", "--state-dir", str(enrolled)]) == 0
    assert json.loads(capsys.readouterr().out)["lastReport"] == {"counter": 7}
