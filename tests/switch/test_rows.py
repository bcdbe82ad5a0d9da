"""`show channels as json`, in pieces."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazoo_rec.errors import CommandFailed, ProtocolBroken
from kazoo_rec.switch.rows import LARGEST_ROW_BYTES, Rows


def read(reply: bytes, size: int):
    found = []
    rows = Rows("uuid", lambda row: found.append(row.headers))
    for at in range(0, len(reply), size):
        rows.feed(reply[at:at + size])
    rows.end()
    return found


def reply(rows) -> bytes:
    """As FreeSWITCH words it (mod_commands.c, show_function; cJSON escapes no more than it must)."""
    return json.dumps({"row_count": len(rows), "rows": rows}, separators=",:", ensure_ascii=False).encode()


TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('{}[]",:\\\n'))


@given(st.lists(st.fixed_dictionaries({"uuid": TEXTS, "cid_name": TEXTS}), min_size=1), st.integers(1, 40))
def test_whatever_callers_are_called_and_wherever_it_is_cut_the_rows_are_those(rows, size):
    assert read(reply(rows), size) == [row for row in rows if row["uuid"]]


def test_a_list_of_nothing_has_no_rows():
    assert read(b'{"row_count": 0}\n', 5) == []


def test_a_name_that_is_not_utf8_is_no_fault():
    (row,) = read(b'{"row_count":1,"rows":[{"uuid":"a","cid_name":"Ren\xe9"}]}', 7)
    assert row == {"uuid": "a", "cid_name": "Ren\udce9"}


@pytest.mark.parametrize("refusal", [b"-ERR no reply\n", b"-USAGE: channels\n"])
def test_a_refusal_is_one(refusal):
    with pytest.raises(CommandFailed):
        read(refusal, 3)


@pytest.mark.parametrize("broken", [
    b"", b"{}", b"+OK", b'{"row_count":1,"rows":[{"uuid":"a"}', b'{"row_count":2,"rows":[{"uuid":"a"},{"uuid":"',
    b'{"row_count":1,"rows":[{"uuid":"a","x":{"y":"z"}}]}', b'{"row_count":1,"rows":[{"uuid":"a" "b"}]}',
    b'{"row_count":1,"rows":[{"uuid":"a"}]}, and more',
    b'{"row_count":1,"rows":[{"uuid":"' + b"a" * 2 * LARGEST_ROW_BYTES, b" " * 2 * LARGEST_ROW_BYTES])
@pytest.mark.parametrize("size", [1000, 1 << 20])
def test_what_is_no_such_list_is_refused(broken, size):
    with pytest.raises(ProtocolBroken):
        read(broken, size)


@given(st.binary(max_size=200))
def test_nothing_that_comes_is_a_fault_of_the_reader(junk):
    rows = Rows("uuid", lambda row: None)
    rows.feed(b'{"row_count":1,"rows":[' + junk)
    rows.feed(junk)
