"""Structured logs: one line an event, a constant name and key-values. Called once, by the command that runs."""

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger


def configure_logging(out: TextIO = sys.stderr, *, level: int = logging.INFO) -> None:
    """Send events to `out`: readable on a terminal, JSON elsewhere. Libraries' own warnings go there too."""
    terminal = out.isatty()
    renderer = structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            conditions_in_a_line,
            *([] if terminal else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(out),
    )
    logging.basicConfig(stream=out, level=logging.WARNING, format="%(levelname)s %(name)s %(message)s", force=True)


def conditions_in_a_line(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    """A processor: what is a condition (a full disk, say) and no fault of ours comes as a reason, without traceback."""
    said = entry.get("exc_info")
    error = sys.exc_info()[1] if said is True else said
    if isinstance(error, BaseException) and getattr(error, "is_condition", False):
        entry.pop("exc_info")
        entry["reason"] = f"{type(error).__name__}: {error}"
    return entry
