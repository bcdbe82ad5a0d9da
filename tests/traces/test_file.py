"""Traces as files: what is read, what is refused and how that is said, what is written."""

import json
import os

import pytest

from kazoo_rec.errors import TraceError
from kazoo_rec.traces.file import Trace, Writer

LINE = '{"t": 0.5, "event": {"Event-Name": "CHANNEL_CREATE"}}\n'


def read(tmp_path, text):
    file = tmp_path / "a.jsonl"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    trace = Trace(file)
    return list(trace), trace.cut_short


def test_what_is_written_is_read_back(tmp_path):
    lines = [{"t": 0, "note": "n"}, {"t": 1.5, "event": {"a": ["x", "\udcff\n"], "b": "é"}}]
    writer = Writer(tmp_path / "a.jsonl")
    for line in lines:
        writer.write(line)
    writer.close()
    assert list(Trace(tmp_path / "a.jsonl")) == lines
    assert (tmp_path / "a.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_last_line_that_is_cut_short_is_left_out_and_said(tmp_path):
    assert read(tmp_path, LINE + LINE[:-9]) == ([json.loads(LINE)], True)
    assert read(tmp_path, LINE + LINE[:-1]) == ([json.loads(LINE)] * 2, False)
    assert read(tmp_path, LINE.encode() + b'{"t": 1, "note": "\xff') == ([json.loads(LINE)], True)


@pytest.mark.parametrize(("text", "number", "fault"), [
    ("time=… level=info\n", 1, "is not JSON"),
    ('{"t": 0', 1, "is not JSON"),
    (LINE + "nonsense\n" + LINE, 2, "is not JSON"),
    (LINE + "[" * 100_000 + "\n", 2, "is not JSON"),
    (LINE + "[]\n", 2, "is not an object"),
    ('{"event": {}}\n', 1, "no time"),
    ('{"t": "0", "event": {}}\n', 1, "no time"),
    ('{"t": NaN, "event": {}}\n', 1, "no time"),
    ('{"t": -1, "event": {}}\n', 1, "no time"),
    ('{"t": true, "event": {}}\n', 1, "no time"),
    ('{"t": 0, "event": "CHANNEL_CREATE"}\n', 1, "not an object"),
    ('{"t": 0, "command": 5, "reply": "x"}\n', 1, "not text"),
    ('{"t": 0, "of": "a", "event": {}}\n', 1, "in part"),
], ids=str)
def test_what_is_no_trace_is_refused_with_its_line(tmp_path, text, number, fault):
    with pytest.raises(TraceError) as refused:
        read(tmp_path, text)
    assert f"a.jsonl', line {number}: " in refused.value.detail and fault in refused.value.detail
    assert "kazoo-rec trace" in refused.value.hint


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(TraceError, match=r"a trace cannot be read.*Is a directory"):
        list(Trace(tmp_path))


def test_no_file_is_overwritten_or_followed_elsewhere(tmp_path):
    (tmp_path / "a").write_text("mine")
    os.symlink(tmp_path / "elsewhere", tmp_path / "b")
    for name in ("a", "b"):
        with pytest.raises(TraceError, match="is there already"):
            Writer(tmp_path / name)
    assert (tmp_path / "a").read_text() == "mine" and not (tmp_path / "elsewhere").exists()
    with pytest.raises(TraceError, match="No such file"):
        Writer(tmp_path / "none" / "a")


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "open", lambda path, flags, mode, open=os.open: open("/dev/full", os.O_WRONLY))
    writer = Writer(tmp_path / "a")
    with pytest.raises(TraceError, match=r"cannot be written.*No space left"):
        writer.write({"t": 0, "note": "x" * 100_000})
    with pytest.raises(TraceError, match=r"cannot be written.*No space left"):
        writer.write({"t": 0, "note": "x"})
        writer.close()
