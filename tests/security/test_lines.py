"""One line of the log an event, whatever is in it."""

import io
import logging
import re
from contextlib import contextmanager

import structlog
from hypothesis import given
from hypothesis import strategies as st

from kazoo_rec import logs

from .hostile import LONG, TEXTS, texts

#: `key=value` or `key="value"`.
FIELD = re.compile(r'([a-z_]+)=([^\s"=]*|"(?:[^"\\]|\\.)*")(?: |$)')

#: What is logged: text, and what has text in it.
values = st.one_of(texts, st.lists(texts, max_size=2), st.dictionaries(texts, texts, max_size=2),
                   texts.map(ValueError), st.binary(max_size=30), st.integers(), st.floats())


@contextmanager
def logging_to(out):
    before, root = structlog.get_config(), logging.getLogger()
    handlers, root.handlers = root.handlers, []
    structlog.reset_defaults()
    logs.configure(role="engine", to=out)
    try:
        yield structlog.get_logger()
    finally:
        structlog.configure(**before)
        root.handlers = handlers


class Pieces(io.StringIO):
    """What is written to it, as it came."""

    def __init__(self):
        super().__init__()
        self.written = []

    def write(self, text):
        self.written.append(text)
        return super().write(text)


def test_a_line_is_written_in_one_piece_as_other_processes_write_to_the_same_end():
    out = Pieces()
    with logging_to(out) as log:
        log.info("recording delivered")
        log.info("recording delivered")
    assert len(out.written) == 2 and all(line.endswith("\n") for line in out.written)


def fields(line):
    """The keys and values of one line; it has nothing else."""
    assert line.endswith("\n")
    line = line.removesuffix("\n")
    assert line.isprintable()
    found = FIELD.findall(line)
    assert "".join(f"{key}={value} " for key, value in found) == f"{line} "
    return dict(found)


@given(values, values)
def test_a_line_has_its_own_keys_and_no_others(value, other):
    out = io.StringIO()
    with logging_to(out) as log:
        log.warning("a leg could not be placed", call_id=value, name=other)
    assert list(fields(out.getvalue())) == ["time", "level", "role", "event", *sorted(["call_id", "name"])]


@given(texts)
def test_an_unforeseen_error_is_told_with_where_it_came_from_on_one_line(text):
    out = io.StringIO()
    with logging_to(out) as log:
        try:
            raise ValueError(text)
        except ValueError:
            log.exception("the database refused", node="fs1")
    told = fields(out.getvalue())["exception"]
    assert "ValueError" in told
    assert "test_lines.py" in told


def test_of_a_long_traceback_its_end_is_there():
    out = io.StringIO()
    with logging_to(out) as log:
        log.error("the database refused", exception=f"{LONG} ValueError: locked")
    assert out.getvalue().endswith('ValueError: locked"\n')


def test_lines_of_libraries_are_one_line_too():
    for text in TEXTS:
        out = io.StringIO()
        with logging_to(out):
            logging.getLogger("library").warning("refused: %s", text)
        assert out.getvalue().count("\n") == 1
        assert out.getvalue().removesuffix("\n").isprintable()


def test_a_long_text_does_not_fill_the_disk():
    out = io.StringIO()
    with logging_to(out) as log:
        log.info("recording planned", name=LONG, exception=LONG)
    assert len(out.getvalue()) < 10_000
