"""A test recording, all the way: made by the switch, found here, examined, sent, and removed with its call."""

import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

import gevent
import numpy as np
from gevent.socket import create_server

from kazoo_rec.calls.files import DIRECTORY_MODE
from kazoo_rec.calls.recording import NARROWBAND_HZ, new_id
from kazoo_rec.config import RecordingsDir
from kazoo_rec.delivery import finish, http
from kazoo_rec.delivery.connections import Connections
from kazoo_rec.delivery.networks import Networks
from kazoo_rec.delivery.receiver import Receiver
from kazoo_rec.doctor.finding import Finding, ok, skipped, warning, wrong
from kazoo_rec.doctor.place import group_name, user_name
from kazoo_rec.doctor.switch import Ask
from kazoo_rec.errors import CommandFailed, SwitchError
from kazoo_rec.media import wav
from kazoo_rec.switch import commands, replies

#: Seconds that are recorded, and after which call and recording end by themselves, should nobody be left to end them.
RECORD_S, AT_MOST_S = 1.0, 15

#: Of the names of our directories: no account can have it (documents/files.py).
PREFIX = "kazoo_rec_doctor."

#: Seconds for the call to come up.
CALL_S = 10.0

#: Seconds to connect to our own receiver, and for its answer.
UPLOAD_S = (2.0, 5.0)

#: Samples above this were no silence: the tone has 10,000.
LOUD = 1000

#: As the engine's recordings are made (calls/recording.py), without the name of one: the engine ignores it.
VARIABLES = {"RECORD_STEREO": "true", "RECORD_PRE_BUFFER_FRAMES": "0", "enable_file_write_buffering": "false",
             "record_sample_rate": str(NARROWBAND_HZ)}

#: As an account would order it whose files are to be encoded.
SETTINGS = {"format": "mp3", "channels": "dual", "track": "both", "record_min_sec": 0}

_SAME_PLACE = "see recordings_dir in the configuration: on_switch is FreeSWITCH's name for it, here is this host's"


def trial(ask: Ask, directory: RecordingsDir, missing: set[str], threads,
          pause: Callable[[float], object] = gevent.sleep) -> list[Finding]:
    """Records a second of a loopback call below the recordings directory, under a name that no account can have.

    Whatever happens, the call is ended and all files are removed. `missing` are modules that are not loaded, `pause`
    waits while the switch records. Raises SwitchError where the switch is lost meanwhile.
    """
    name = f"{PREFIX}{token_hex(8)}"
    here = Path(directory.here, name)
    if not threads.apply(here.parent.is_dir):
        return [skipped("test recording", "there is no directory for it: see `directory`")]
    try:
        threads.apply(_make, (here,))
    except OSError as refused:
        return [wrong("test recording", f"a directory below {directory.here} cannot be made here: {refused.strerror}",
                      "the engine makes one for each account and day: see `directory` and `disk space`")]
    try:
        return _same_place(ask, directory, name) or _recorded(ask, directory, name, missing, threads, pause)
    finally:
        threads.apply(shutil.rmtree, (here, True))


def _make(path):
    os.mkdir(path)
    os.chmod(path, DIRECTORY_MODE)  # mkdir's mode is cut by the umask


def _same_place(ask, directory, name):
    """What is wrong before anything is recorded, which would otherwise lie where we cannot remove it."""
    def sees(path):
        return replies.exists(ask(commands.file_exists(path)))

    root = directory.on_switch.rstrip("/")
    if sees(f"{root}/{name}"):
        return []
    if not sees(root):
        return [wrong("same place", f"FreeSWITCH sees no {root}",
                      f"make it, let FreeSWITCH's user reach it, or mount it there; {_SAME_PLACE}")]
    if not sees(f"{root}/."):
        return [wrong("same place", f"FreeSWITCH may not go into {root}", _join_group(directory, name))]
    return [wrong("same place", f"{root} of FreeSWITCH is not {directory.here} of this host: what is made here is not "
                  "there", _SAME_PLACE)]


def _join_group(directory, name):
    """How FreeSWITCH's user gets where it may not go or write: the directory `name`, made as the engine makes them."""
    root, made = (os.stat(Path(directory.here, *below)).st_gid for below in ((), (name,)))
    if root != made:
        return (f"what we make there is of the group {group_name(made)} and not {group_name(root)}: "
                f"`chmod g+s {directory.here}`")
    group = group_name(root)
    return (f"FreeSWITCH's user must be in the directory's group: `usermod -aG {group} freeswitch` (or `chgrp "
            f"freeswitch {directory.here}`), then restart FreeSWITCH; see also `directory`")


def _recorded(ask, directory, name, missing, threads, pause):
    leg, recording_id = str(uuid.uuid4()), new_id()
    path = f"{directory.on_switch.rstrip('/')}/{name}/{recording_id}.wav"
    try:
        try:
            ask(commands.originate_loopback(leg, AT_MOST_S), CALL_S)
        except CommandFailed as refusal:
            return [_no_call(refusal, missing)]
        try:
            ask(commands.start(leg, path, AT_MOST_S, VARIABLES))
        except CommandFailed as refusal:
            return [_not_recorded(refusal, directory, name, missing, threads)]
        pause(RECORD_S)
        begun = threads.apply(os.path.exists, (Path(directory.here, name, f"{recording_id}.wav"),))
        with suppress(CommandFailed):  # it ended by itself: its file tells
            ask(commands.stop(leg, path))
    finally:
        with suppress(SwitchError):
            ask(commands.kill(leg))
    return _examined(Path(directory.here), Path(name, f"{recording_id}.wav"), recording_id, begun, threads)


def _no_call(refusal, missing):
    if needed := sorted(missing & {"mod_loopback", "mod_tone_stream", "mod_dptools"}):
        return warning("test recording", f"no test recording was made without {' and '.join(needed)}",
                       "see `modules`; without it a call from phone to phone has to be the test")
    return warning("test recording", f"no test recording was made, as the test call did not come up: {refusal.reply}",
                   "is FreeSWITCH at its limit of sessions, or paused (`fs_cli -x status`)?")


def _not_recorded(refusal, directory, name, missing, threads):
    said = f"FreeSWITCH cannot record into {directory.on_switch}: {refusal.reply}"
    if "mod_sndfile" in missing:
        return wrong("test recording", f"{said}, as mod_sndfile is not loaded", "see `modules`")
    if not threads.apply(os.statvfs, (directory.here,)).f_bavail:
        return wrong("test recording", f"{said}, as the disk is full", "make room: see `disk space`")
    return wrong("test recording", f"{said}, as its user may not write there", _join_group(directory, name))


def _examined(root, master, recording_id, begun, threads):
    if begun and not threads.apply(os.path.exists, (root / master,)):
        return [wrong("test recording", "FreeSWITCH removed it when it ended",
                      "is RECORD_MIN_SEC set for every leg? see `other recorders`, and FreeSWITCH's log")]
    if not threads.apply(os.path.exists, (root / master,)):
        return [wrong("same place", f"FreeSWITCH says that it recorded, and {root / master} is not there",
                      _SAME_PLACE)]
    found = [ok("same place", "a directory made here and a file made by FreeSWITCH are seen by both")]
    try:
        threads.apply(_readable, (root / master,))
    except OSError as refused:
        seen = threads.apply(os.stat, (root / master,))
        return [*found, wrong("test recording", f"FreeSWITCH's files cannot be read here: {refused.strerror} "
                              f"(mode {stat.S_IMODE(seen.st_mode):04o}, {user_name(seen.st_uid)}:"
                              f"{group_name(seen.st_gid)})",
                              "FreeSWITCH's umask must let its group read: UMask=0007 or 0022 in its systemd unit, "
                              "then restart it")]
    row = {"id": recording_id, "master": str(master), "settings": SETTINGS, "expected_ms": None, "started_ms": 1,
           "stopped_ms": None, "spans": [], "cause": None, "partial": False}
    columns = threads.apply(finish.examine, (row, root))
    if columns["state"] != "recorded":
        return [*found, wrong("test recording", f"the file is not what it should be: {columns['state_reason']}",
                              "see FreeSWITCH's log of this minute")]
    row |= columns
    loud = threads.apply(_loudness, (root / master,))
    length = f"{columns['duration_ms'] / 1000:.2f} s, {columns['sample_rate']} Hz"
    if min(loud) < LOUD:
        found.append(warning("test recording", f"{length}, and a side of it is silent",
                             "is media on this switch disturbed, or the host too busy?"))
    elif columns["duration_ms"] < RECORD_S * 800:
        found.append(warning("test recording", f"{length} of {RECORD_S:.2f} s", "is the host too busy, the disk full?"))
    else:
        found.append(ok("test recording", f"made, read, encoded: {length}, both sides heard"))
    return [*found, _delivered(row, root, threads)]


def _readable(path):
    with open(path, "rb"):
        return


def _loudness(path):
    """The loudest sample of each side."""
    found = wav.probe(path)
    with open(path, "rb") as file:
        file.seek(found.data_offset)
        samples = np.frombuffer(file.read(found.data_bytes), "<i2").reshape(-1, found.channels)
    return [int(np.abs(samples[:, side].astype(np.int32)).max()) for side in range(found.channels)]


def _delivered(row, root, threads):
    """Uploads the file to a receiver of our own, as delivery does to a customer's, and compares what came."""
    with tempfile.TemporaryDirectory(prefix=PREFIX) as directory:
        connections = Connections(1, networks=Networks(["127.0.0.0/8"]))
        receiver = Receiver(Path(directory), create_server(("127.0.0.1", 0)))
        receiver.start()
        try:
            url = f"{receiver.url}/{Path(row['file']).name}"
            sent = http.send(connections, "put", url, row, root / row["file"], threads, 0.0, UPLOAD_S)
            if isinstance(sent, http.Failure):
                return wrong("test delivery", f"the upload to our own receiver on 127.0.0.1 failed: {sent.text}",
                             "is there a firewall on loopback?")
            (received,) = receiver.files
        finally:
            connections.close()
            receiver.stop()
    if not received.verified or received.sha256 != row["sha256"]:
        return wrong("test delivery", "what arrived is not what was sent", "is this host's memory or disk at fault?")
    return ok("test delivery", f"{received.bytes} bytes of MP3 sent to 127.0.0.1, digest verified, removed again")
