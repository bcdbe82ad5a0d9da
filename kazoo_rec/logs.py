"""One line an event on standard error, in logfmt: grep finds a call by `call_id=…`, a recording by `recording_id=…`."""

import logging
import sys

import structlog


def _harmless(_logger, _method, line: dict) -> dict:
    """Foreign text cannot forge a line or move a cursor: what is not printable is escaped. None is left out."""
    return {key: ascii(value)[1:-1] if isinstance(value, str) and not value.isprintable() else value
            for key, value in line.items() if value is not None}


def configure(verbose: bool = False, role: str | None = None, to=sys.stderr):
    """Sets up logging of this process, whose lines go to `to` and say `role`; `verbose` shows debug lines
    too. Libraries' own warnings go the same way."""

    def of_role(_logger, _method, line):
        return line if role is None else {"role": role, **line}

    structlog.configure(
        processors=[
            of_role,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper("iso", utc=True, key="time"),
            _harmless,
            structlog.processors.LogfmtRenderer(key_order=["time", "level", "role", "event"], drop_missing=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(to),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(stream=to, level=logging.WARNING, format="time=%(asctime)s level=%(levelname)s "
                        "event=%(message)r logger=%(name)s")
