"""Messages of callers: the application `record` writes them to our path, and its events close their rows."""

import gevent
import pytest
from structlog.testing import capture_logs

from kazoo_rec.documents.schema import check
from kazoo_rec.errors import WrongState
from kazoo_rec.switch.events import Event

from .fakes import ROOT
from .flows import Flows
from .test_recovery import Site


class Caller(Flows):
    """Talks to the switch itself, on leg a."""

    def __init__(self, records=False):
        super().__init__(records)
        self.talks().after(1000)

    def message(self, **settings):
        return self.control.message("acme", "a", settings, label="mailbox", who="Callflow main")

    def begins(self, message):
        return self.event("RECORD_START", "a", **{"Record-File-Path": message.path})

    def ends(self, message, **headers):
        """RECORD_STOP as the application's: without a cause, its length in `record_ms`."""
        return self.event("RECORD_STOP", "a", **{"Record-File-Path": message.path, **headers})

    def completes(self, message, **headers):
        event = Event({"Event-Name": "CHANNEL_EXECUTE_COMPLETE", "Unique-ID": "a", "Application": "record",
                       "Application-Data": f"{message.path} 60 200 3",
                       "Event-Date-Timestamp": str(self.epoch_ms * 1000), **headers})
        self.control.message_ended(message.id, event)
        return self


def test_row_and_directory_are_there_before_the_application_is_told():
    one = Caller()
    message = one.message(url="https://files.example/", time_limit=60)
    row = one.row()
    assert message.path == f"{ROOT}/{row['master']}" and row["id"] == message.id in message.path
    assert row["master"].rpartition("/")[0] in one.made
    assert (row["rule"], row["state"], row["origin"], row["leg"]) == (
        "record_caller", "armed", "callflow : mailbox", "A")
    assert message.variables == {"enable_file_write_buffering": "false", "record_sample_rate": "8000"}


@pytest.mark.parametrize(("key", "value"), [("format", "wav"), ("method", "post"), ("time_limit", 60),
                                            ("url", "https://files.example/")])
def test_each_key_of_the_action_is_in_the_row(key, value):
    one = Caller()
    assert check("record_caller", {key: value}) == ({key: value}, [])
    one.message(**{key: value})
    assert one.row()["settings"][key] == value and one.row()["settings_from"][key] == "record_caller"


def test_what_the_action_does_not_say_is_kazoos_default():
    one = Caller()
    one.message()
    said = one.row()["settings"]
    assert (said["format"], said["method"], said["time_limit"], said["url"]) == ("mp3", "put", 3600, None)


def test_its_events_are_known_by_their_path():
    one = Caller()
    message = one.message()
    one.begins(message)
    assert one.row()["state"] == "recording" and one.row()["started_ms"] == one.epoch_ms
    one.after(1900).ends(message, variable_record_ms="1720")
    row = one.row()
    assert (row["state"], row["cause"], row["expected_ms"], row["truncated_by_limit"], row["spans"]) == (
        "stopped", None, 1720, False, [])
    assert row["stopped_ms"] == one.epoch_ms and row["master"] == message.path.removeprefix(f"{ROOT}/")
    assert not one.switch.of("uuid_record")


def test_one_that_its_limit_ended_says_so():
    one = Caller()
    message = one.message(time_limit=6)
    one.begins(message).after(6680).ends(message, variable_record_ms="6680")
    assert one.row()["truncated_by_limit"]


@pytest.mark.parametrize("heard", ["nothing before", "its start before", "all before", "all behind"])
def test_the_end_of_the_application_closes_it_once_whatever_comes_first(heard):
    one = Caller()
    message = one.message()
    if heard in ("its start before", "all before"):
        one.begins(message)
    one.after(2000)
    if heard == "all before":
        one.ends(message, variable_record_ms="1720")
    one.completes(message, variable_record_ms="1720")
    row = dict(one.row())
    assert (row["state"], row["expected_ms"], row["stopped_ms"]) == ("stopped", 1720, one.epoch_ms)
    if heard == "all behind":
        one.begins(message)
    with capture_logs() as lines:
        if heard != "all before":
            one.after(100).ends(message, variable_record_ms="1720")
        gevent.idle()
    assert one.row() == row and message.id not in one.recorder and not lines


def test_what_is_nobodys_message_ends_nothing():
    one = Caller(records=True)
    id = one.row()["id"]
    for other in (id, "202611-" + "0" * 32, ""):
        one.control.message_ended(other, Event({}))
    assert one.row()["state"] == "recording"


def test_the_hang_up_closes_it_and_the_message_counts():
    one = Caller()
    message = one.message()
    one.begins(message).after(2000).ends(message, variable_record_ms="2000", **{"Answer-State": "hangup"})
    one.hang_up("a")
    assert one.row()["state"] == "stopped" and one.row()["expected_ms"] == 2000
    one = Caller()
    one.begins(one.message()).after(2000).hang_up("a")
    assert (one.row()["state"], one.row()["stopped_ms"]) == ("stopped", one.epoch_ms)


def test_a_caller_that_is_gone_before_it_begins_has_left_nothing():
    one = Caller()
    one.message()
    one.after(100).hang_up("a")
    assert one.row()["state"] == "discarded"


def test_an_answer_that_is_heard_late_starts_nothing_beside_it():
    one = Flows().phone_calls("a", "1000")
    message = one.control.message("acme", "a", {}, who="Callflow main")
    one.answer_unarmed("a").after(1000)
    assert not one.switch.commands
    one.event("RECORD_START", "a", **{"Record-File-Path": message.path})
    assert one.row()["state"] == "recording" and one.row()["spans"] == []


def test_no_order_reaches_it_and_those_for_others_go_on():
    one = Caller(records=True)
    message = one.message()
    one.begins(message)
    for action in ("mask", "unmask", "pause", "resume", "stop"):
        one.control.order("acme", "a", action, {}, "token t")
        assert one.end(ids=[message.id], label="mailbox") == [] == one.change("mask", label="mailbox")
    assert not [command for command in one.switch.commands if message.path in command]
    assert one.row("record_caller")["state"] == "recording" and one.row("account.inbound")["state"] == "stopped"
    one.control.order("acme", "a", "start", {}, "token t")
    assert one.row("api")["state"] == "recording"


def test_without_a_directory_the_application_would_end_the_call_and_is_not_told():
    one = Caller()
    one.message()
    one.disk = PermissionError(13, "Permission denied")  # removed since, and not to be made again
    with pytest.raises(WrongState, match="directory"):
        one.message()
    _, row = one.rows.by_id.values()
    assert (row["state"], row["state_reason"]) == ("failed", "its directory cannot be made: Permission denied")


def test_nor_where_the_leg_has_no_media_here():
    one = Caller()
    one.tracker.leg("a").bypassed = True
    with pytest.raises(WrongState, match="no media"):
        one.message()
    assert not one.rows.by_id


def test_a_path_of_ours_that_is_no_recording_changes_nothing():
    one = Caller()
    for path in ("/elsewhere/202611-" + "0" * 32 + ".wav", f"{ROOT}/acme/20261121/x.wav", "", "x.wav"):
        one.event("RECORD_START", "a", **{"Record-File-Path": path})
        one.event("RECORD_STOP", "a", **{"Record-File-Path": path})
    assert not one.rows.by_id


class TestAfterARestart:
    """The application goes on without the engine that told the switch of it."""

    @pytest.fixture
    def before(self):
        one = Caller()
        one.begins(one.message())
        return one

    def engine(self, monkeypatch, before, **application):
        """Another engine, that has swept a switch on which leg a is in this application."""
        site = Site(monkeypatch, [("account", "acme", "acme", {"realm": "acme.example"})], before.rows)
        site.leg("a", ago_ms=3000, sip_authorized="true", sip_auth_username="1000", sip_auth_realm="acme.example",
                 **application)
        return site.sweep().scene

    def test_one_that_is_being_written_is_closed_by_its_stop(self, monkeypatch, before):
        path = f"{ROOT}/{before.row()['master']}"
        scene = self.engine(monkeypatch, before, current_application="record",
                            current_application_data=f"{path} 60 200 3")
        assert before.row()["state"] == "recording" and not scene.switch.of("uuid_record")
        scene.after(5000).event("RECORD_STOP", "a", **{"Record-File-Path": path, "variable_record_ms": "5000"})
        assert (before.row()["state"], before.row()["expected_ms"]) == ("stopped", 5000)

    def test_one_that_has_ended_meanwhile_is_closed_by_what_there_is_of_it(self, monkeypatch, before):
        self.engine(monkeypatch, before, current_application="playback", current_application_data="tone")
        assert (before.row()["state"], before.row()["state_reason"]) == ("stopped", "its end was not heard")

    def test_one_whose_leg_is_not_taken_in_yet_is_known_by_its_path(self, before):
        path = f"{ROOT}/{before.row()['master']}"
        later = Flows(rows=before.rows)
        later.event("RECORD_STOP", "a", **{"Record-File-Path": path})
        assert before.row()["state"] == "stopped"
