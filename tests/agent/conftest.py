"""Fixtures that several of the agent's tests share."""

import pytest

from .artifacts import Key
from .broker import Broker


@pytest.fixture(scope="session")
def key() -> Key:
    """A fleet's signing key."""
    return Key()


@pytest.fixture
def broker(tmp_path):
    """A plain mosquitto on loopback."""
    made = Broker(tmp_path)
    made.start()
    yield made
    made.kill()
