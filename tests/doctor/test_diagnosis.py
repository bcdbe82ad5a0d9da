"""All of it on a simulated deployment: well, then broken."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from gevent.event import Event
from gevent.socket import create_server

from kazoo_rec.config import load
from kazoo_rec.doctor import place
from kazoo_rec.doctor.diagnosis import Diagnosis
from kazoo_rec.documents import files
from kazoo_rec.simulator.script import Phone, Script
from kazoo_rec.switch.connection import Connection
from tests.control.certificates import write
from tests.doctor.conftest import findings_of, only
from tests.doctor.test_database import insert

DAY = timedelta(days=1)
LONG_AGO = datetime.now(UTC) - 9 * DAY


def wrong(findings):
    return {one.name for one in findings if one.state == "wrong"}


@pytest.fixture
def taken_in(deployment):
    """The store has the documents of the directory."""
    store = deployment.store()
    store.documents.take_files(files.read(deployment.documents)).get()
    store.close()


def test_a_deployment_that_is_well_has_nothing_wrong_and_stays_as_it_is(deployment, switch, taken_in):
    assert deployment.file.exists()
    before = sorted(os.walk(deployment.place))
    found = deployment.examine()
    assert wrong(found) == set()
    assert {one.name for one in found if one.state == "warning"} <= {"user", "event socket"}
    assert {"realtime priority", "directory", "database", "deliveries", "disk space", "documents", "delivery hosts",
            "event socket", "version", "modules", "clock", "same place", "test recording", "test delivery",
            "bypassed media", "placed legs", "other recorders"} <= {one.name for one in found}
    assert {one.switch for one in found if one.name in ("directory", "documents")} == {""}
    assert {one.switch for one in found if one.name in ("version", "test recording")} == {"fs1"}
    switch.until(lambda: not switch.legs)
    assert sorted(os.walk(deployment.place)) == before


def test_it_commands_nothing_on_legs_of_others(deployment, switch, taken_in):
    call = switch.play(Script(Phone("1000", "acme.example"), (Phone("1001", "acme.example", answers=0.1),)))
    switch.clock.sleep(0.5)
    found = deployment.examine()
    assert only(found, "placed legs").state == "ok" and {leg.uuid for leg in call.legs} <= set(switch.legs)
    theirs = [line for line in switch.commands if any(leg.uuid in line for leg in call.legs)]
    assert theirs and all(line.startswith(("uuid_dump", "uuid_buglist")) for line in theirs)


def test_a_recording_below_our_directory_is_ours_where_the_database_has_it(deployment, switch, taken_in):
    recording_id = "202611-0123456789abcdef0123456789abcdef"
    switch.play(Script(Phone("1000", "acme.example"), dials="1", dialplan=("answer", "park")))
    switch.says["uuid_buglist"] = ("<function>session_record</function>\n<target>"
                                   f"{deployment.recordings}/acme/20261121/{recording_id}.wav</target>\n")
    switch.clock.sleep(0.5)
    assert wrong(deployment.examine()) == {"other recorders"}
    store = deployment.store()
    insert(store, recording_id=recording_id, state="recording")
    store.close()
    assert wrong(deployment.examine()) == set()


@pytest.mark.parametrize("broken, name, seen", [
    ({"password": "nonsense"}, "event socket", "FreeSWITCH refuses the password"),
    ({"port": 1}, "event socket", "FreeSWITCH cannot be reached"),
])
def test_a_switch_that_cannot_be_asked_is_wrong_and_the_rest_is_looked_at(deployment, taken_in, broken, name, seen):
    deployment.said["switches"][0] |= broken
    found = deployment.examine()
    assert wrong(found) == {name} and seen in only(found, name).seen
    assert only(found, "the switch").state == "skipped" and only(found, "database").state == "ok"


def test_each_switch_is_examined(deployment, taken_in):
    first = deployment.said["switches"][0]
    deployment.said["switches"] = [{**first, "password": "nonsense"}, {**first, "name": "fs2"}]
    found = deployment.examine()
    assert only(found, "version").switch == "fs2"
    assert [one.switch for one in found if one.state == "wrong"] == ["fs1"]


def test_what_is_broken_on_the_switch_is_named(deployment, switch, taken_in):
    switch.says |= {"version": "FreeSWITCH Version 1.10.5\n", "strmicroepoch": "1000000", "uuid_record": "-ERR no\n",
                    "module_exists mod_sndfile": "false", "global_getvar": "proxy_media=true\nRECORD_APPEND=true\n"}
    assert wrong(deployment.examine()) == {"version", "clock", "test recording", "modules", "bypassed media",
                                           "other recorders"}


def test_what_is_broken_on_this_host_is_named(deployment, taken_in, monkeypatch):
    monkeypatch.setattr(place, "LEAST_FREE_BYTES", 10**18)
    deployment.recordings.chmod(0o777)
    deployment.write("acme/users/u", {"call_recording": {"any": {"any": {"url": "http://127.0.0.1:1/"}}}})
    deployment.write("acme/devices/d", {"sip": 5})
    found = deployment.examine()
    assert wrong(found) == {"disk space", "directory", "documents"}
    (deployment.documents / "acme/devices/d.json").unlink()
    assert wrong(deployment.examine()) == {"disk space", "directory", "delivery hosts"}


def test_the_host_of_a_document_that_is_gone_is_not_looked_at(deployment, taken_in):
    deployment.write("acme/users/u", {"call_recording": {"any": {"any": {"url": "http://127.0.0.1:1/"}}}})
    for _ in range(2):
        store = deployment.store()
        store.documents.take_files(files.read(deployment.documents)).get()
        store.close()
        (deployment.documents / "acme/users/u.json").unlink(missing_ok=True)
    assert only(deployment.examine(), "delivery hosts").state == "ok"


def test_a_missing_directory_is_said_once(deployment, taken_in):
    deployment.recordings.rmdir()
    found = deployment.examine()
    assert wrong(found) == {"directory", "disk space"} and only(found, "test recording").state == "skipped"


def test_without_realtime_priority_there_is_a_warning(deployment):
    found = Diagnosis(load(deployment.file), lambda: False, mounts=lambda: "", pause=lambda seconds: None).run()
    assert only(found, "realtime priority").state == "warning"


def test_a_check_that_hangs_is_given_up_and_the_others_go_on(deployment, switch, taken_in):
    def pause(seconds):
        Event().wait()

    found = deployment.examine(pause=pause, check_s=1.0)
    assert "not done within 1 s" in only(found, "test recording").seen
    assert findings_of(found, "placed legs") and not os.listdir(deployment.recordings)


def test_a_switch_that_dies_meanwhile_is_told_of(deployment, switch, taken_in):
    def pause(seconds):
        switch.kill()

    found = deployment.examine(pause=pause)
    assert only(found, "test recording").state == "wrong" and not os.listdir(deployment.recordings)


def test_a_silent_peer_is_no_switch(deployment, taken_in):
    with create_server(("127.0.0.1", 0)) as silent:
        deployment.said["switches"][0]["port"] = silent.getsockname()[1]
        found = Diagnosis(load(deployment.file), lambda: True, mounts=lambda: "", connect=_impatient).run()
    assert "FreeSWITCH does not answer" in only(found, "event socket").seen


def _impatient(*address):
    return Connection(*address, timeout=0.1)


# -- the command


def command(deployment, *flags):
    return subprocess.Popen([sys.executable, "-m", "kazoo_rec", "doctor", "--config", str(deployment.file), *flags],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_command_says_in_json_what_it_found(deployment, switch, taken_in):
    running = command(deployment, "--json")
    said, errors = running.communicate(timeout=60)
    told = json.loads(said)
    assert running.returncode == 0 and told["wrong"] == 0 and not errors
    assert {"name": "version", "state": "ok", "seen": "FreeSWITCH 1.10.12", "advice": "", "switch": "fs1"} \
        in told["findings"]


def test_the_command_shows_a_table_and_ends_with_1_where_something_is_wrong(deployment, switch, taken_in):
    switch.says["version"] = "FreeSWITCH Version 1.10.5\n"
    running = command(deployment)
    said, errors = running.communicate(timeout=60)
    assert running.returncode == 1 and not errors
    assert "FreeSWITCH 1.10.5: pause and resume" in said and "upgrade FreeSWITCH" in said and "\n1 wrong, " in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_cleans_up_when_it_is_interrupted(deployment, switch, number):
    running = command(deployment)
    switch.until(lambda: any(" start " in line for line in switch.commands), timeout=30)
    running.send_signal(number)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130 and errors == "interrupted\n"
    switch.until(lambda: not switch.legs)
    assert not os.listdir(deployment.recordings)


class TestControl:
    """What the host shows engines and APIs of others."""

    def certified(self, deployment, authority, host="127.0.0.1", address="127.0.0.1:8085", **more):
        certificate, key = write(deployment.place, "control", authority, [host], **more)
        authority.cert_pem.write_to_path(deployment.place / "ca.pem")
        deployment.said["control"] = {"host": "127.0.0.1", "address": address, "certificate": str(certificate),
                                      "key": str(key), "ca": "ca.pem"}

    def test_a_certificate_that_others_take_is_well(self, deployment, taken_in):
        self.certified(deployment, trustme.CA(), "fs1.example", "fs1.example:8085")
        found = deployment.examine()
        assert not wrong(found) and only(found, "control certificate").seen.endswith("is good for fs1.example")

    def test_one_that_others_refuse_is_wrong_with_their_reason(self, deployment, taken_in):
        authority = trustme.CA()
        for reason, more in (("mismatch", {"host": "fs2.example"}),
                             ("expired", {"not_before": LONG_AGO, "not_after": LONG_AGO + DAY})):
            self.certified(deployment, authority, **more)
            found = deployment.examine()
            assert wrong(found) == {"control certificate"} and reason in only(found, "control certificate").seen
        trustme.CA().cert_pem.write_to_path(deployment.place / "ca.pem")
        assert "issuer" in only(deployment.examine(), "control certificate").seen

    def test_one_that_cannot_be_used_is_wrong(self, deployment, taken_in):
        self.certified(deployment, trustme.CA())
        write(deployment.place, "other", trustme.CA(), ["127.0.0.1"])
        deployment.said["control"]["key"] = "other.key"
        found = deployment.examine()
        assert wrong(found) == {"control certificate"} and "cannot be used" in only(found, "control certificate").seen

    def test_more_than_an_authority_of_ones_own_is_wrong(self, deployment, taken_in):
        self.certified(deployment, trustme.CA())
        for _ in range(2):
            trustme.CA().cert_pem.write_to_path(deployment.place / "ca.pem", append=True)
        assert "has 3 authorities" in only(deployment.examine(), "control certificate").seen

    def test_one_that_ends_soon_is_told_of(self, deployment, taken_in):
        soon = datetime.now(UTC) + 29 * DAY
        self.certified(deployment, trustme.CA(), not_after=soon)
        found = only(deployment.examine(), "control certificate")
        assert (found.state, f"ends on {soon:%Y-%m-%d}" in found.seen) == ("warning", True)

    def test_an_engine_that_does_not_answer_from_here_is_told_of(self, deployment, taken_in):
        store = deployment.store()
        store.engines.say("fs2", 0, "127.0.0.1:1", ["fs2"]).get()
        store.close()
        found = only(deployment.examine(), "engines")
        assert (found.state, found.seen) == (
            "warning", "engine fs2 does not answer: this host's configuration has no `control`")
        self.certified(deployment, trustme.CA())
        assert "refused" in only(deployment.examine(), "engines").seen


def test_a_certificate_of_the_api_that_cannot_be_read_is_wrong(deployment, taken_in):
    deployment.said["api"] = {"certificate": "api.pem", "key": "api.key"}
    found = deployment.examine()
    assert wrong(found) == {"certificate"}
    assert f"{deployment.place}/api.pem: No such file" in only(found, "certificate").seen
