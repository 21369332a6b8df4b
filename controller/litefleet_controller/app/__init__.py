"""The composition root: builds every part of the controller and wires them. Nothing is decided here."""

from litefleet_controller.app.serving import serve
from litefleet_controller.app.settings import Settings, StartError

__all__ = ["Settings", "StartError", "serve"]
