"""Logs as JSON lines that cannot hold personal data: what is not on the list is not written.

Our own packages write a fixed sentence and fields of the list. Other people's loggers (rq,
waitress, urllib3) put arguments, URLs and job descriptions into their messages, so of them only
logger, level and class of exception are kept.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, TextIO

OURS = ("cds_service", "fhir_mapping", "inference", "models")

FIELDS = frozenset(
    {
        "attempt",
        "cards",
        "count",
        "duration_ms",
        "explanation_id",
        "hook_instance",
        "job",
        "kind",
        "model",
        "models",
        "outcome",
        "priority",
        "refusal",
        "service",
        "state",
        "status",
        "steps_ms",
        "study",
        "tenant",
        "token_id",
        "version",
        "waiting",
        "where",
        "worker",
    }
)
"""What a line may say beside its sentence. `study` is the opaque id, never a UID."""

_WORD = re.compile(r"[A-Za-z0-9_.,:/+\- ]{0,400}")
_SENTENCE = re.compile(r"[A-Za-z0-9 ,.;:'%()\-]{1,160}")
"""A sentence of ours, arguments not filled in; anything odd in it was put there by mistake."""


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, event, and fields of the list."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; it never raises, whatever was logged."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
        }
        if _is_ours(record.name):
            line |= _said(record)
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
        return json.dumps(line, ensure_ascii=True)


def _is_ours(name: str) -> bool:
    return name.split(".", 1)[0] in OURS


def _said(record: logging.LogRecord) -> dict[str, Any]:
    """The sentence as it stands in the code, without its arguments, and the allowed fields."""
    event = record.msg if isinstance(record.msg, str) and _SENTENCE.fullmatch(record.msg) else "?"
    values = {name: _value(getattr(record, name)) for name in FIELDS if hasattr(record, name)}
    return {"event": event, **{k: v for k, v in sorted(values.items()) if v is not None}}


def _value(value: object) -> Any:
    """Numbers and short words as they are; a mapping of words to numbers; nothing else."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {str(_value(str(k))): v for k, v in value.items() if isinstance(v, int | float)}
    word = str(value)
    return word if _WORD.fullmatch(word) else "?"


def configure(level: str = "INFO", stream: TextIO | None = None) -> logging.Handler:
    """Send every log of this process through `JsonLines`, and nothing around it."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    # a library's own handlers would write its messages around ours
    for name in list(logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False
    return handler


def where(error: BaseException) -> str:
    """The way of an error through our own code, ``module:line`` innermost last; no values."""
    frames = traceback.walk_tb(error.__traceback__)
    places = [(frame.f_globals.get("__name__", "?"), line) for frame, line in frames]
    return " ".join(f"{name}:{line}" for name, line in places if _is_ours(name))[-300:]
