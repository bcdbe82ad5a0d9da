"""Which callflow a number belongs to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazoo_rec.documents.callflows import Callflows, compiled
from kazoo_rec.documents.schema import check

FLOW = {"module": "play"}


def callflows(**documents):
    return Callflows({id: {"id": id, "flow": FLOW, **body} for id, body in documents.items()})


def chosen(found, number):
    match = found.match(number)
    return match and match.document["id"]


@pytest.mark.parametrize(("number", "id"), [
    ("1001", "sales"), ("+15550001001", "sales"), ("15550001001", "sales"), ("5550001001", None), ("3200", "plain"),
    ("+3200", "plain"), ("", None), ("no_match", None), ("9" * 37, None)])
def test_a_number_is_found_with_or_without_its_plus(number, id):
    assert chosen(callflows(sales={"numbers": ["1001", "+15550001001"]}, plain={"numbers": ["3200"]}), number) == id


def test_a_number_goes_before_every_pattern():
    assert chosen(callflows(any={"patterns": ["^(.*)$"]}, one={"numbers": ["1001"]}), "1001") == "one"


def test_the_pattern_with_the_longest_capture_wins_whatever_their_order():
    for documents in ({"short": {"patterns": [r"^\*9(\d)\d*$"]}, "long": {"patterns": [r"^\*(\d+)$"]}},
                      {"long": {"patterns": [r"^\*(\d+)$"]}, "short": {"patterns": [r"^\*9(\d)\d*$"]}}):
        match = callflows(**documents).match("*9123")
        assert (match.document["id"], match.captures) == ("long", ("9123",))


def test_a_pattern_without_groups_captures_all_that_it_matched():
    match = callflows(group={"patterns": [r"^55(\d)"]}, whole={"patterns": ["^55"]}).match("5512")
    assert (match.document["id"], match.captures) == ("whole", ("55",))


def test_a_group_that_took_no_part_is_an_empty_capture():
    assert callflows(one={"patterns": [r"^(\*9)?(\d+)$"]}).match("12").captures == ("", "12")


@pytest.mark.parametrize(("number", "id"), [("4711", "rest"), ("+4711", "rest"), ("*98", None), ("anna", None)])
def test_what_nobody_else_has_is_the_no_match_s_if_it_is_a_telephone_number(number, id):
    assert chosen(callflows(rest={"numbers": ["no_match"]}), number) == id


def test_a_callflow_is_found_by_its_id():
    assert callflows(one={}).get("one")["id"] == "one" and callflows().get("one") is None


@pytest.mark.parametrize("pattern", [
    r"^\+?1?([2-9][0-9]{2})([0-9]{7})$", r"^\*(9[78])(\d*)#?$", "^(?:00|011)(.+)$", "^[^0]{3,}$", "^1(00)?$",
    r"[\d*#]"])
def test_patterns_of_every_day_are_taken(pattern):
    assert compiled(pattern).pattern == pattern


@pytest.mark.parametrize("pattern", [
    "(a+)+$", "(a|aa)*$", "a?" * 13 + "b", "a?" * 20 + "a" * 20, ".*.*.*.*", r"(\d)\1", "(?=a)b", "(?P<x>a)", r"\x61",
    "(", "a{1000000}", "*", "[z-a]", "a|" * 14, "^(.*){2,}$", r"\Aa"])
def test_what_is_no_pattern_or_takes_long_is_refused(pattern):
    with pytest.raises(ValueError):
        compiled(pattern)


def test_a_stored_pattern_that_is_no_longer_taken_is_of_no_number():
    assert chosen(callflows(old={"patterns": ["(a+)+", "^7$"]}), "7") == "old"


def test_a_fault_of_a_pattern_has_its_path():
    _, faults = check("callflow", {"patterns": ["^1$", "(a+)+"], "flow": FLOW})
    assert [fault["path"] for fault in faults] == ["patterns.1"] and "pattern" in faults[0]["message"]


@given(st.text(max_size=20))
def test_no_text_is_more_than_a_refused_pattern(text):
    try:
        compiled(text).search("123")
    except ValueError as fault:
        assert str(fault)


@given(st.text(st.sampled_from("a?*+{}2,|()."), max_size=24))
def test_no_pattern_that_is_taken_takes_long(text):
    try:
        pattern = compiled(text)
    except ValueError:
        return
    pattern.search("a" * 36)


def test_between_its_patterns_others_have_their_turn():
    turns = []
    found = callflows(one={"patterns": ["^1", "^2", "^3$"]}).match("3", lambda: turns.append(1))
    assert found.captures == ("3",) and len(turns) == 3
