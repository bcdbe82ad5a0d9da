"""Which side of a call is in a file, and in how many channels: Twilio's table of RecordingTrack and RecordingChannel
("Single Party Call Recordings"), each row from a document to the file that is delivered.

A track is told from where the switch stands, leg by leg: "inbound" is what it receives from the recorded leg, that is
what this leg says, and "outbound" what it sends to it, that is what this leg hears; so whether the leg called or was
called, and whatever the direction of its call.
"""

import pytest
import soundfile

from kazoo_rec.delivery.finish import finish
from kazoo_rec.delivery.settings import DeliverySettings
from kazoo_rec.documents.schema import check
from kazoo_rec.policy.settings import account_policy, endpoint_policy
from tests.media.sounds import HEARD, SAID, tones, write_talk

from .fakes import RECORDING_ID, Clock, Store, stopped_row

MIXED, TWO, SAYS, HEARS = [{SAID, HEARD}], [{SAID}, {HEARD}], [{SAID}], [{HEARD}]

#: (track, channels; None: the document does not say) → what each channel of the file has.
TABLE = {
    (None, None): MIXED,
    (None, "mono"): MIXED,
    (None, "dual"): TWO,
    ("inbound", None): SAYS,
    ("outbound", None): HEARS,
    ("both", None): MIXED,
    ("inbound", "mono"): SAYS,
    ("inbound", "dual"): SAYS,
    ("outbound", "mono"): HEARS,
    ("outbound", "dual"): HEARS,
    ("both", "mono"): MIXED,
    ("both", "dual"): TWO,
}


def document(track, channels, form):
    said = {"enabled": True, "format": form, "track": track, "channels": channels}
    said = {"any": {"any": {key: value for key, value in said.items() if value is not None}}}
    account, faults = check("account", {"name": "acme", "call_recording": {"account": said, "endpoint": said}})
    assert not faults
    return account


@pytest.mark.parametrize("form", ["mp3", "wav"])
@pytest.mark.parametrize(("asked", "expected"), TABLE.items(), ids=lambda value: "-".join(map(str, value)))
def test_each_row_of_the_table_is_the_file_it_says(tmp_path, pool, asked, expected, form):
    settings = dict(account_policy(document(*asked, form))["inbound", "offnet"].settings)
    row = delivered(tmp_path, pool, settings)
    samples, rate = soundfile.read(tmp_path / row["file"], always_2d=True)
    assert [tones(channel, rate) for channel in samples.T] == expected
    assert row["state"] == "recorded" and row["channels"] == len(expected)


@pytest.mark.parametrize(("leg", "direction"), [("A", "inbound"), ("A", "outbound"), ("B", "inbound"),
                                                ("B", "outbound")])
@pytest.mark.parametrize(("track", "expected"), [("inbound", SAYS), ("outbound", HEARS)])
def test_inbound_is_what_the_recorded_leg_says_whoever_called(tmp_path, pool, leg, direction, track, expected):
    cell = endpoint_policy(document(track, "dual", "wav"), None, None)[direction, "onnet"]
    row = delivered(tmp_path, pool, dict(cell.settings), leg=leg, direction=direction)
    samples, rate = soundfile.read(tmp_path / row["file"], always_2d=True)
    assert [tones(channel, rate) for channel in samples.T] == expected


@pytest.mark.parametrize(("track", "expected"), [("inbound", SAYS), ("outbound", HEARS), ("both", TWO)])
@pytest.mark.parametrize("form", ["mp3", "wav"])
def test_of_a_side_that_was_not_to_be_recorded_nothing_is_kept(tmp_path, pool, form, track, expected):
    cell = account_policy(document(track, "dual", form))["inbound", "offnet"]
    row = delivered(tmp_path, pool, dict(cell.settings))
    for file in tmp_path.rglob("*.wav"):
        samples, rate = soundfile.read(file, always_2d=True)
        assert [tones(channel, rate) for channel in samples.T] == expected
    assert finish(row, Store(row), tmp_path, pool, Clock().now_ms, DeliverySettings()) is None
    again = Store({**row, "state": "stopped"})  # as after a kill before the row was written
    finish(dict(again.rows[RECORDING_ID]), again, tmp_path, pool, Clock().now_ms, DeliverySettings())
    assert {name: again.rows[RECORDING_ID][name] for name in ("file", "sha256", "channels")} == {
        name: row[name] for name in ("file", "sha256", "channels")}


def delivered(tmp_path, pool, settings, **columns):
    store = Store(stopped_row(settings=settings, **columns))
    write_talk(tmp_path / store.rows[RECORDING_ID]["master"], 1.0)
    finish(dict(store.rows[RECORDING_ID]), store, tmp_path, pool, Clock().now_ms, DeliverySettings())
    return store.rows[RECORDING_ID]
