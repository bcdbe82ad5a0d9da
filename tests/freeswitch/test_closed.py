"""Where a call must not go on unrecorded: it ends, with an engine that cannot record it and without an engine at all;
and a call that is recorded goes on."""

import shutil
import time

import pytest

from tests.freeswitch.product import until
from tests.freeswitch.talk import states, talk

#: Milliseconds: the engine hangs up 2 s after the answer, the dialplan's guard 5 s after it.
HANGS_UP_MS, GUARD_MS = 2000, 5000
#: The guard counts whole seconds, and ends are seen by phones.
LATE_MS = 1500


@pytest.fixture
def spoilt(lab):
    """The switch refuses to write a WAV beside a directory of that name (mod_sndfile.c, alt_path)."""
    made = []

    def spoil(account):
        directory = lab.recordings_dir / account / time.strftime("%Y%m%d", time.gmtime()) / "8000"
        directory.mkdir(parents=True, exist_ok=True)
        made.append(directory)

    yield spoil
    for directory in made:
        shutil.rmtree(directory)


def rules(lab, account="acme"):
    return {f"{account}/account": {"account": {"any": {"any": lab.record()}}}}


def test_a_call_that_cannot_be_recorded_is_hung_up_where_its_account_says_so(lab, alice, bob, spoilt):
    spoilt("acme")
    lab.obey(rules(lab), on_no_recording="hangup")
    call = alice.call("1001")
    called = bob.rings().ring().answer()
    call.answered().ended()
    called.ended()
    assert HANGS_UP_MS - 100 < call.talk_ms < HANGS_UP_MS + LATE_MS
    found = until(lambda: lab.rows() if all(row["state"] == "failed" for row in lab.rows()) else None)
    assert {row["state_reason"] for row in found} == {"no media"}


def test_where_an_alarm_is_wanted_the_call_goes_on(lab, alice, bob, spoilt):
    spoilt("acme")
    lab.obey(rules(lab))
    since = lab.log_size()
    call = alice.call("1001")
    talk(call, bob.rings().ring().answer(), duration_ms=3500)
    assert call.talk_ms > 3000
    lab.until_logged("a leg is not being recorded", since)


def test_a_call_that_is_recorded_goes_on_past_its_guard(lab, alice, bob):
    lab.obey(rules(lab), on_no_recording="hangup")
    call = alice.call("*01001")
    talk(call, bob.rings().ring().answer(), duration_ms=GUARD_MS + LATE_MS)
    assert call.talk_ms > GUARD_MS + 1000
    assert states(lab.recordings()) == {"acme account.inbound A 1000": "recorded"}


def test_without_an_engine_the_guard_ends_the_call(lab, alice, bob, kill):
    lab.obey(rules(lab), on_no_recording="hangup")
    kill()
    call = alice.call("*01001")
    called = bob.rings().ring().answer()
    call.answered().ended()
    called.ended()
    assert GUARD_MS - 1000 < call.talk_ms < GUARD_MS + LATE_MS
