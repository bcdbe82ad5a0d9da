"""kill -9 at every step of a recording. After the restart nothing is lost, nothing is there twice, nothing hangs."""

import time

import pytest

from tests.faults.site import Site

INSERT, ASK = "kazoo_rec.store.recordings:Recordings.insert", "kazoo_rec.switch.pool:Pool.ask"
STARTED, STOPPED = "kazoo_rec.calls.recorder:Recorder.started", "kazoo_rec.calls.ending:Endings.stopped"
FINISH = "kazoo_rec.store.recordings:Recordings.finish"
CONNECTION, UPDATE = "http.client:HTTPConnection", "kazoo_rec.store.deliveries:Deliveries.update"

#: What an engine says of a recording that it finds.
TAKEN_UP = "recording taken up again"

LONG = pytest.mark.long


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture
def site(shared):
    """With a role of each kind, and nothing going on."""
    yield shared
    shared.receiver.ask("mode", mode="ok")
    shared.switch.ask("hang_up")
    shared.heal()


@pytest.fixture
def settle(site, table):
    """Ends the calls, waits until nothing is left to do, and adds what became of them to the table."""
    since_ms = time.time_ns() // 1_000_000

    def settled(fault):
        site.switch.ask("hang_up")
        site.wait_quiet()
        account = site.account(since_ms)
        table.add(fault, account)
        return account

    return settled


def doom(site, role, of, when, nth=1, said=""):
    site.kill(role)
    site.start(role, {"of": of, "when": when, "nth": nth, "said": said})
    if role == "engine":
        site.wait_heard()


def is_recorded(site, legs):
    """Whether there are so many legs, and the switch records each, once."""
    recorded = site.switch.ask("recorded")
    assert max(map(len, recorded.values()), default=0) <= 1, "a leg is recorded twice"
    return len(recorded) == legs and all(recorded.values())


@pytest.mark.parametrize("fault, of, when, nth, said", [
    ("engine, before the row", INSERT, "before", 1, ""),
    pytest.param("engine, before the row", INSERT, "before", 3, "", marks=LONG),
    ("engine, after the row", INSERT, "done", 1, ""),
    pytest.param("engine, after the row", INSERT, "done", 4, "", marks=LONG),
    pytest.param("engine, before the arming", ASK, "before", 1, "execute_on_answer_", marks=LONG),
    ("engine, after the arming", ASK, "after", 1, "execute_on_answer_"),
    pytest.param("engine, after the arming", ASK, "after", 4, "execute_on_answer_", marks=LONG),
    pytest.param("engine, as recording begins", STARTED, "before", 2, "", marks=LONG),
])
def test_calls_in_progress_are_recorded_from_then_on(site, settle, fault, of, when, nth, said):
    doom(site, "engine", of, when, nth, said)
    for _ in range(3):
        site.call(talk_s=None)
    site.wait_gone("engine")
    site.restart("engine")
    site.wait_heard()
    site.until(lambda: is_recorded(site, 6), 30, "calls in progress are not recorded")
    settle(fault)


def test_killed_during_the_calls_their_recordings_go_on(site, settle):
    for _ in range(3):
        site.call(talk_s=None)
    site.until(lambda: is_recorded(site, 6), 30, "not recorded")
    before = site.switch.ask("recorded")
    site.kill("engine")
    taken_up = site.log.read_text().count(TAKEN_UP)
    site.restart("engine")
    site.until(lambda: site.log.read_text().count(TAKEN_UP) == taken_up + 6, 30, "recordings are not taken up again")
    site.wait_heard()
    assert site.switch.ask("recorded") == before
    account = settle("engine, during the call")
    assert account.delivered == 6


@pytest.mark.parametrize("when", ["before", pytest.param("after", marks=LONG)])
@pytest.mark.parametrize("nth", [1, pytest.param(4, marks=LONG)])
def test_killed_at_record_stop_the_file_is_found_and_delivered(site, settle, when, nth):
    doom(site, "engine", STOPPED, when, nth)
    for _ in range(3):
        site.call(talk_s=1.5)
    site.wait_gone("engine")
    site.restart("engine")
    site.wait_heard()
    assert settle("engine, at RECORD_STOP").delivered == 6


def test_a_file_that_was_finished_while_nobody_listened_is_found_and_delivered(site, settle):
    for _ in range(3):
        site.call(talk_s=1.5)
    site.until(lambda: is_recorded(site, 6), 30, "not recorded")
    site.kill("engine")
    site.until(lambda: not site.switch.ask("legs"), 30, "the calls do not end")
    site.restart("engine")
    site.wait_heard()
    assert settle("engine, RECORD_STOP never heard").delivered == 6


def test_an_armed_row_without_a_call_is_closed(site, settle):
    site.call(talk_s=None)
    site.call(talk_s=None, rings_s=None)
    site.until(lambda: len(site.ledger.rows("SELECT id FROM recordings WHERE state = 'armed'")) == 2, 30, "not armed")
    site.kill("engine")
    site.switch.ask("hang_up")
    site.until(lambda: not site.switch.ask("legs"), 30, "the calls do not end")
    site.restart("engine")
    site.wait_heard()
    settle("engine, its call rang on and ended")
    assert not site.ledger.rows("SELECT id FROM recordings WHERE state = 'armed'")


@pytest.mark.parametrize("fault, of, when, said", [
    ("delivery, during encoding", "os:replace", "before", ".mp3"),
    pytest.param("delivery, before the row is finished", FINISH, "before", "", marks=LONG),
    pytest.param("delivery, after the row is finished", FINISH, "done", "", marks=LONG),
    pytest.param("upload, before connect", "kazoo_rec.delivery.networks:Networks.connect", "before", "", marks=LONG),
    pytest.param("upload, before the head", "kazoo_rec.delivery.body:File.send", "before", "", marks=LONG),
    ("upload, after the 2xx", f"{CONNECTION}.getresponse", "after", ""),
    ("upload, before the commit", UPDATE, "before", ""),
    pytest.param("upload, after the commit", UPDATE, "done", "", marks=LONG),
])
def test_delivery_begins_again_where_it_was_killed(site, settle, fault, of, when, said):
    doom(site, "delivery", of, when, said=said)
    site.call(talk_s=1.5)
    site.wait_gone("delivery")
    site.restart("delivery")
    assert settle(fault).delivered == 2
    assert not [*site.recordings.rglob("*.part")], "half a file is left"


@pytest.mark.parametrize("fault, mode", [("upload, amid the body", "half"), ("upload, after the body", "silent")])
def test_an_upload_that_was_killed_is_made_again(site, settle, fault, mode):
    site.receiver.ask("mode", mode=mode)
    site.call(talk_s=1.5)
    site.until(lambda: site.receiver.ask("waiting"), 30, "nothing is sent")
    site.kill("delivery")
    site.receiver.ask("mode", mode="ok")
    site.restart("delivery")
    assert settle(fault).delivered == 2
