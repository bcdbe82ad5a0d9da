import pytest

from kazoo_rec.doctor.finding import wrong


@pytest.mark.parametrize("text, shown", [
    ("Müller → 1000", "Müller → 1000"), ("a\nb\x1b[2J", "a\\nb\\x1b[2J"), ("x\u202ey", "x\\u202ey"),
    ("\udcff", "\\udcff"),
])
def test_foreign_text_stays_on_its_line_and_moves_no_cursor(text, shown):
    found = wrong("name", text, text)
    assert (found.seen, found.advice) == (shown, shown)
    found.seen.encode()
