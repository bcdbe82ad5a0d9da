"""One line an event on standard error, in logfmt: grep finds a call by `call_id=…`, a recording by `recording_id=…`."""

import logging
import sys

import structlog

#: Characters of one value; more is of no use to who reads it.
LONGEST = 4_000


def _harmless(_logger, _method, line: dict) -> dict:
    """Foreign text cannot forge a line, move a cursor or fill a disk: what is not printable is escaped, what is long is
    cut in its middle (what a traceback is of stands at its end). None is left out."""
    return {key: _shown(value) for key, value in line.items() if value is not None}


def _shown(value):
    if isinstance(value, int | float):
        return value
    text = str(value)
    if not text.isprintable():
        text = ascii(text)[1:-1]
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST // 2]} [{len(text) - LONGEST} characters] {text[-LONGEST // 2:]}"


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
            structlog.processors.format_exc_info,
            _harmless,
            structlog.processors.LogfmtRenderer(key_order=["time", "level", "role", "event"], drop_missing=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(to),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(stream=to, level=logging.WARNING, format="time=%(asctime)s level=%(levelname)s "
                        "event=%(message)r logger=%(name)s")
