"""Reasons of losses, in words to count by."""

import pytest

from kazoo_rec.store.losses import CLASSES, class_of


@pytest.mark.parametrize(("reason", "word"), [
    ("no media", "no_media"), ("never started: the switch did not obey", "never_started"),
    ("0.5 s before it were missed: the switch began late", "began_late"),
    ("12.0 s before it were missed: the engine was not connected; partial: 1 ms of 900 ms", "engine_away"),
    ("partial: 700 ms of 1280 ms", "short"), ("file missing", "no_file"),
    ("not a WAV file: begins with b'declarator'", "unreadable"), ("what nobody has said", "other"), (None, "other")])
def test_each_reason_has_its_word(reason, word):
    assert class_of(reason) == word


def test_whatever_is_read_there_are_as_many_words_as_there_are():
    assert {class_of(f"not a WAV file: begins with {n}") for n in range(100)} == {"unreadable"} <= set(CLASSES)
