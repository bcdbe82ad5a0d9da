"""Directories for recordings, which FreeSWITCH has to be able to write in."""

import os
import stat

import pytest

from kazoo_rec.calls.files import DIRECTORY_MODE, Files

PATH = "acme/20261121"


@pytest.fixture
def files(tmp_path):
    return Files("/on/switch", str(tmp_path), lambda function, args: function(*args))


def modes(root):
    return [stat.S_IMODE(os.stat(root / path).st_mode) for path in ("acme", PATH)]


def test_an_account_s_directory_and_a_day_s_are_the_group_s_whatever_the_umask(files, tmp_path):
    before = os.umask(0o077)
    try:
        files.make(PATH)
    finally:
        os.umask(before)
    assert modes(tmp_path) == [DIRECTORY_MODE, DIRECTORY_MODE]


@pytest.mark.parametrize("left", ["acme", PATH])
def test_what_somebody_who_was_killed_had_begun_to_make_is_made(files, tmp_path, left):
    (tmp_path / left).mkdir(parents=True)
    (tmp_path / left).chmod(0o700)
    if left == PATH:
        (tmp_path / "acme").chmod(DIRECTORY_MODE)
    files.make(PATH)
    assert modes(tmp_path) == [DIRECTORY_MODE, DIRECTORY_MODE]


def test_other_rights_that_somebody_has_given_stay(files, tmp_path):
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme").chmod(0o2775)
    files.make(PATH)
    assert modes(tmp_path) == [0o2775, DIRECTORY_MODE]


def test_a_directory_of_somebody_else_s_is_left_as_it_is(files, tmp_path, monkeypatch):
    (tmp_path / PATH).mkdir(parents=True)
    (tmp_path / "acme").chmod(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(tmp_path).st_uid + 1)
    files.make(PATH)
    assert modes(tmp_path)[0] == 0o700
