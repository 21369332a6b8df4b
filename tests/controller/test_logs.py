"""What logs say of an error: a condition in a line, a fault with its traceback."""

import io

import pytest
import structlog

from litefleet_controller.logs import configure_logging
from litefleet_controller.store.errors import DatabaseLockedError


@pytest.fixture
def out():
    before = structlog.get_config()
    written = io.StringIO()
    configure_logging(written)
    yield written
    structlog.configure(**before)


def failed(error):
    try:
        raise error
    except type(error):
        structlog.get_logger().exception("unwritten", device="pi-1")


def test_a_condition_is_said_in_a_line_without_a_traceback(out):
    failed(DatabaseLockedError("database is locked"))
    line = out.getvalue()
    assert '"reason": "DatabaseLockedError: the database can\'t be written: database is locked; end what' in line
    assert "Traceback" not in line


def test_a_fault_keeps_its_traceback(out):
    failed(ValueError("a bug"))
    assert "Traceback" in out.getvalue()
