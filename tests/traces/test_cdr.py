"""Files of call detail records of any content."""

import pytest

from kazoo_rec.calls.identity import IdentityRules
from kazoo_rec.traces.cdr import CHUNK, Details


@pytest.mark.parametrize("blank", ["", " ", "\t", "\ufeff", "\n", "\n\n \n"])
@pytest.mark.parametrize("text", ['{"variables": {}}', '[{"variables": {}}]'])
def test_json_is_known_behind_blanks(tmp_path, blank, text):
    (tmp_path / "cdr").write_text(blank + text)
    details = Details(tmp_path / "cdr", IdentityRules())
    assert list(details) == [] and details.unreadable == 1


def test_blank_lines_are_nothing_however_many(tmp_path):
    """Looked at again from each on, so many would take minutes."""
    (tmp_path / "cdr").write_text("\n" * CHUNK)
    details = Details(tmp_path / "cdr", IdentityRules())
    assert list(details) == [] and details.unreadable == 0
