"""The file of what truly happened, read back."""

import pytest

from kazoo_rec.simulator.script import Script
from kazoo_rec.simulator.simulator import Simulator
from kazoo_rec.simulator.truth import Truth, read
from tests.simulator.conftest import alice, bob

EXACT = "RECORD_PRE_BUFFER_FRAMES=0"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "truth.jsonl"


@pytest.fixture
def switch(clock, tmp_path, file):
    with Simulator(clock=clock, recordings=tmp_path, truth=Truth(file)) as simulator:
        yield simulator


def spans(leg):
    return [(round(end - begin, 2), hz) for begin, end, hz in leg.spans]


def test_who_answered_when_and_what_each_said_for_how_long(switch, clock, file):
    switch.play(Script(alice(says={0: 1000, 1.5: 0}, hangs_up=2.5, holds=((1.7, 2.0),)), (bob(),), name="seven"))
    clock.advance(5)
    caller, called = read(file)
    assert (caller.user, caller.domain, caller.call, caller.originator) == ("1000", "acme.example", "seven", "")
    assert (called.direction, called.originator) == ("outbound", caller.uuid)
    assert called.answered - called.created == pytest.approx(0.5, abs=0.01)
    assert spans(caller) == [(0.98, 1000), (0.2, 0), (0.5, 0)] and spans(called) == [(2.0, 440)]
    assert caller.gave_s == pytest.approx(1.68) and caller.cause == called.cause == "NORMAL_CLEARING"
    assert called.ended - caller.ended == pytest.approx(0, abs=0.03) and not caller.killed


def test_who_never_answers_gives_nothing(switch, clock, file):
    switch.play(Script(alice(hangs_up=1.0), (bob(answers=None),)))
    clock.advance(2)
    assert [(leg.answered, leg.spans, leg.cause) for leg in read(file)] == [(None, [], "ORIGINATOR_CANCEL")] * 2


def test_media_that_left_does_not_come_back_by_a_hold(switch, clock, file):
    switch.play(Script(alice(hangs_up=3.0, holds=((1.5, 2.0),)), (bob(),),
                       faults=("media of 1000 leaves the switch at 1.0",)))
    clock.advance(4)
    assert spans(read(file)[0]) == [(0.48, 1000)]


def test_the_files_that_were_written(switch, clock, talk, tmp_path, file):
    leg = talk.legs[0]
    switch.api(f"uuid_record {leg.uuid} start {tmp_path}/a.wav 0 {{{EXACT}}}")
    switch.api(f"uuid_record {leg.uuid} start {tmp_path}/b.wav 0 {{{EXACT}}}")
    clock.advance(1)
    switch.api(f"uuid_record {leg.uuid} stop {tmp_path}/a.wav")
    clock.advance(1)
    switch.kill()
    first, second = read(file)[0].files
    assert (first.path, first.ms, first.cause) == (f"{tmp_path}/a.wav", 1000, "success-maxtime")
    assert (second.path, second.ms, second.cause) == (f"{tmp_path}/b.wav", None, "killed")
    assert second.ended - second.begun == pytest.approx(2)


def test_a_recording_that_goes_along_is_the_legs_that_began_it(switch, clock, tmp_path, file):
    switch.phones.add(bob(user="1002"))
    call = switch.play(Script(alice(hangs_up=4.0), (bob(),), faults=(
        "1001 transfers to 1002 at 1.5, recordings go along",)))
    clock.advance(1)
    switch.api(f"uuid_record {call.legs[1].uuid} start {tmp_path}/a.wav 0 {{{EXACT}}}")
    clock.advance(4)
    assert [[each.ms for each in leg.files] for leg in read(file)] == [[], [3000], []]
    assert f'"leg": "{call.legs[1].uuid}", "path": "{tmp_path}/a.wav", "to": "{call.legs[0].uuid}"' in file.read_text()


def test_a_leg_that_is_recovered_goes_on(switch, clock, talk, file):
    clock.advance(0.4)
    switch.kill()
    assert [leg.killed for leg in read(file)] == [True, True]
    switch.start()
    clock.advance(1)
    switch.api("sofia recover")
    clock.advance(1)
    assert [spans(leg) for leg in read(file)] == [[(0.48, 1000), (1.0, 1000)], [(0.5, 440), (1.0, 440)]]


def test_what_a_kill_of_the_process_leaves_is_whole(switch, clock, talk, file, tmp_path):
    """Its lines are written at once; after the next start its legs are known to have gone with it."""
    clock.advance(1.9)
    left = file.read_text()
    after = tmp_path / "after.jsonl"
    after.write_text(left + '{"at": 17952')
    assert [leg.ended for leg in read(after)] == [None, None] and read(after)[1].gave_s == pytest.approx(1.5)
    after.write_text(left)
    with Simulator(clock=clock, recordings=tmp_path, truth=Truth(after)):
        assert [(leg.killed, leg.gave_s) for leg in read(after)] == [
            (True, pytest.approx(1.48)), (True, pytest.approx(1.5))]
