import os
from types import SimpleNamespace

import pytest

from kazoo_rec.config import RecordingsDir
from kazoo_rec.delivery.settings import DiskSettings
from kazoo_rec.doctor import place

NOW_MS = 1_795_242_427_000
ALL_GROUPS = frozenset(range(70_000))
MOUNT = "36 35 98:0 / {} rw,noatime shared:1 - {} server:/export rw\n"


@pytest.fixture
def directory(tmp_path):
    made = tmp_path / "recordings"
    made.mkdir()
    made.chmod(0o2770)
    return made


def rights(path, mounts="", **more):
    return place.rights(RecordingsDir(str(path), str(path)), ALL_GROUPS, mounts, **more)


def seen(findings, state="wrong"):
    assert {one.state for one in findings} == {state}
    return "; ".join(one.seen for one in findings)


def test_a_directory_as_the_readme_makes_it_is_well(directory):
    assert "2770" in seen(rights(directory), "ok")


@pytest.mark.parametrize("mode, fault", [
    (0o2700, "its group may not go into it"), (0o0770, "it is not setgid"), (0o2775, "everybody on this host may look"),
])
def test_a_mode_that_keeps_somebody_out_or_lets_everybody_in_is_wrong(directory, mode, fault):
    directory.chmod(mode)
    assert fault in seen(rights(directory)) and "chmod 2770" in rights(directory)[0].advice


def test_one_that_is_not_there_or_no_directory_is_wrong(directory, tmp_path):
    (tmp_path / "file").touch()
    assert "does not exist" in seen(rights(tmp_path / "none")) and "no directory" in seen(rights(tmp_path / "file"))


def test_one_that_we_may_not_use_is_wrong(directory):
    assert "we may not read and remove" in seen(rights(directory, access=lambda path, mode: False))


def test_one_on_nfs_is_wrong_where_the_innermost_mount_says_so(directory):
    mounts = MOUNT.format("/", "ext4") + MOUNT.format(directory.parent, "nfs4")
    assert "on nfs4" in seen(rights(directory, mounts))
    assert "on nfs4" in seen(rights(directory, mounts + MOUNT.format("/", "ext4")))
    assert seen(rights(directory, mounts + MOUNT.format(directory, "xfs")), "ok")
    assert seen(rights(directory, mounts.replace(f"{directory.parent} ", f"{directory.parent}/rec ")), "ok")


@pytest.mark.parametrize("kind, state", [
    ("cifs", "wrong"), ("lustre", "wrong"), ("fuse.sshfs", "wrong"), ("fuse.s3fs", "wrong"), ("fuse.rclone", "wrong"),
    ("fuse", "wrong"), ("fuseblk", "ok"), ("ext4", "ok"), ("btrfs", "ok"), ("fuse.mergerfs", "ok")])
def test_one_that_another_host_or_a_program_serves_is_wrong(directory, kind, state):
    assert seen(rights(directory, MOUNT.format(directory, kind)), state)


def disk(free=10**12, files=10**6):
    return lambda path: SimpleNamespace(f_blocks=4 * 10**12 // 4096, f_bavail=free // 4096, f_frsize=4096,
                                        f_files=10**7, f_favail=files)


def space(written, removed=False, stat_of=None):
    (found,) = place.space("/r", written, NOW_MS, removed, DiskSettings(), stat_of or disk())
    return found


def test_space_lasts_as_long_as_the_higher_of_two_rates_says():
    asked = []

    def written(since_ms):
        asked.append((NOW_MS - since_ms) // 3_600_000)
        return (10, 10**9) if asked[-1] == 24 else (700, 350 * 10**9)

    found = space(written)
    assert found.state == "ok" and asked == [24, 168]
    assert "1.0 TB free, 20 days at 50.0 GB a day" in found.seen and "(10 recordings)" in found.seen


@pytest.mark.parametrize("a_day, removed, state", [
    (10**11, False, "ok"), (2 * 10**11, False, "warning"), (2 * 10**12, False, "wrong"), (2 * 10**12, True, "ok"),
])
def test_space_for_less_than_a_week_is_a_warning_for_less_than_a_day_wrong(a_day, removed, state):
    assert space(lambda since_ms: (1, a_day), removed).state == state


def test_a_disk_that_is_full_or_has_no_inodes_is_wrong():
    assert "nothing is recorded" in space(None, stat_of=disk(free=10**8)).seen
    found = space(None, stat_of=disk(files=5))
    assert found.state == "wrong" and "only 5 inodes" in found.seen


def test_the_marks_of_the_configuration_are_told():
    assert space(None, stat_of=disk(free=10**11)).state == "wrong"
    found = space(None, stat_of=disk(free=3 * 10**11))
    assert found.state == "warning" and "7.5%: audio of delivered recordings is being removed" in found.seen


def test_without_a_recording_or_a_database_only_what_is_free_is_told():
    assert space(lambda since_ms: (0, 0)).state == space(None).state == "ok"


def test_a_disk_that_cannot_be_asked_is_wrong():
    def stat_of(path):
        raise OSError(5, os.strerror(5))

    assert space(None, stat_of=stat_of).state == "wrong"
