"""Recordings over HTTP: found, played whole or in part, explained, kept and deleted."""

import errno
import io
from functools import partial

import gevent
import numpy as np
import pytest
import soundfile
from gevent.event import Event

from kazoo_rec.api import sound
from kazoo_rec.api.app import make_app
from kazoo_rec.api.listing import LARGEST_PAGE, key_for
from kazoo_rec.media.names import PLAYED
from kazoo_rec.threads import Threads
from tests.api.conftest import ACME, Client
from tests.media.sounds import HEARD, SAID, tones


@pytest.fixture
def path(acme):
    return f"/v2/accounts/{acme}/recordings"


@pytest.fixture
def one(recording, acme, path):
    """The path of a recording."""
    return f"{path}/{recording(acme)['id']}"


def heard(answer):
    """For each channel of what was played, which tones it has."""
    samples, rate = soundfile.read(io.BytesIO(answer.content), always_2d=True)
    return [tones(channel, rate) for channel in samples.T]


def ids(answer):
    return [found["id"] for found in answer.json["data"]]


class TestLists:
    def test_the_newest_come_first_page_by_page(self, root, recording, acme, path):
        made = [recording(acme)["id"] for _ in range(5)]
        first = root("GET", path, params={"page_size": 3})
        second = root("GET", path, params={"page_size": 3, "start_key": first.json["next_start_key"]})
        assert ids(first) + ids(second) == made[::-1] and "next_start_key" not in second.json

    def test_without_pagination_all_come(self, root, recording, acme, path):
        made = [recording(acme)["id"] for _ in range(51)]
        answer = root("GET", path, params={"paginate": "false"})
        assert ids(answer) == made[::-1] and len(made) < LARGEST_PAGE

    def test_recordings_of_one_moment_are_all_there_once(self, root, recording, acme, path):
        made = {recording(acme, created_ms=7)["id"] for _ in range(5)}
        seen, key = [], None
        for _ in range(3):
            page = root("GET", path, params={"page_size": 2, **({"start_key": key} if key else {})})
            seen, key = seen + ids(page), page.json.get("next_start_key")
        assert sorted(seen) == sorted(made)

    @pytest.mark.parametrize(("params", "found"), [
        ({"filter_direction": "outbound"}, [1]), ({"filter_owner_id": "bob"}, [2]), ({"filter_label": "sale"}, [3]),
        ({"filter_not_label": "sale"}, [0, 1, 2]), ({"modified_from": "65000000000"}, []), ({"paginate": "false"},
                                                                                           [0, 1, 2, 3]),
        ({"number": "4420"}, [0, 1, 2, 3]), ({"number": "100%"}, []), ({"q": "Ann"}, [0, 1, 2, 3]), ({"q": "_"}, []),
        ({"min_duration_s": "3"}, [1]), ({"filter_state": "discarded"}, [4]), ({"filter_state": "deleted"}, []),
        ({"created_from": "62167219201", "created_to": "62167219201"}, [0, 1, 2, 3]),
        ({"filter_partial": "true"}, [0]), ({"filter_partial": "false", "filter_state": "recorded"}, [1, 2, 3]),
        ({"filter_state": "failed"}, [5]), ({"created_from": "62167219202"}, []), ({"q": "' OR 1=1 --"}, [])])
    def test_they_are_found(self, root, recording, acme, path, params, found):
        made = [recording(acme, **columns)["id"] for columns in (
            {"partial": True}, {"direction": "outbound", "duration_ms": 3000}, {"user_id": "bob"}, {"label": "sale"},
            {"state": "discarded"}, *([{"state": "failed"}] if params.get("filter_state") == "failed" else []))]
        assert sorted(ids(root("GET", path, params=params))) == [made[number] for number in found]

    @pytest.mark.parametrize("params", [
        {"filter_colour": "red"}, {"min_duration_s": "long"}, {"start_key": "AAAA"}, {"ascending": "true"},
        {"has_key": "label"}, {"filter_partial": "1"}, {"direction": "inbound"}, {"q": "x" * 65},
        {"number": "1" * 50_001},
        {"page_size": "9" * 5000}, {"page_size": "\u0663"}, {"paginate": "no"}, {"start_key": key_for("9" * 5000)},
        {"start_key": key_for(f"{2**70} x")}, {"modified_from": "9" * 13}])
    def test_what_cannot_be_looked_for_is_refused(self, root, path, params):
        assert root("GET", path, params=params).status_code == 400

    def test_a_user_finds_his_own(self, client, root, recording, acme):
        hers, _ = recording(acme, user_id="ann")["id"], recording(acme, user_id="bob")["id"]
        asking = client("user", acme, "ann")
        assert ids(asking("GET", f"/v2/accounts/{acme}/recordings")) == [hers]
        assert ids(asking("GET", f"/v2/accounts/{acme}/users/ann/recordings")) == [hers]
        assert asking("GET", f"/v2/accounts/{acme}/users/bob/recordings").status_code == 404
        assert ids(root("GET", f"/v2/accounts/{acme}/users/ann/recordings")) == [hers]


class TestOne:
    def test_it_has_kazoos_fields_and_ours_and_no_secret(self, root, one):
        found = root("GET", one).json["data"]
        assert (found["duration"], found["media_type"], found["cdr_id"]) == (2, "wav", "202611-leg-0")
        assert found["state"] == "recorded" and found["reason"] and found["deliveries"] == []
        assert "secret" not in root("GET", one).text + root("GET", f"{one}/explain").text

    def test_why_it_was_made_and_what_happened(self, root, one):
        told = root("GET", f"{one}/explain").json["data"]
        assert told["settings"]["enabled"] == {"value": True, "from": "user"}
        assert [event["what"] for event in told["happened"]] == ["armed", "answered", "started", "stopped"]

    def test_another_accounts_or_another_users_is_not_there(self, root, client, recording, acme, path):
        globex = root("PUT", "/v2/accounts", {**ACME, "name": "Globex", "realm": "g.example", "numbers": []})
        theirs = recording(globex.json["data"]["id"])["id"]
        assert root("GET", f"{path}/{theirs}").status_code == 404
        bobs = recording(acme, user_id="bob")["id"]
        assert client("user", acme, "ann")("GET", f"{path}/{bobs}").status_code == 404


class TestSound:
    @pytest.mark.parametrize(("accept", "params", "kind", "sides"), [
        ("audio/mpeg", {"channels": "mono"}, "audio/mpeg", [{SAID, HEARD}]),
        ("audio/wav", {}, "audio/wav", [{SAID}, {HEARD}]),
        ("audio/wav", {"channels": "dual"}, "audio/wav", [{SAID}, {HEARD}]),
        ("audio/x-wav", {"track": "inbound"}, "audio/wav", [{SAID}]),
        ("audio/mpeg", {"channels": "dual"}, "audio/mpeg", [{SAID}, {HEARD}]),
        ("*/*", {"accept": "audio/mp3", "track": "outbound"}, "audio/mpeg", [{HEARD}])])
    def test_it_is_played_as_it_is_asked_for(self, root, one, accept, params, kind, sides):
        answer = root("GET", one, headers={"Accept": accept}, params=params)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, kind) and heard(answer) == sides
        assert answer.headers["Content-Disposition"].startswith('attachment; filename="202611-')
        assert int(answer.headers["Content-Length"]) == len(answer.content)

    def test_json_is_what_comes_unless_audio_is_asked_for(self, root, one):
        for accept in ("*/*", "application/json", "application/json, audio/mpeg;q=0.5"):
            assert root("GET", one, headers={"Accept": accept}).json["data"]["state"] == "recorded"
            assert root("GET", one, headers={"Accept": accept}).headers["Vary"] == "Accept"

    def test_types_have_no_case(self, root, one):
        assert root("GET", one, headers={"Accept": "Audio/WAV"}).headers["Content-Type"] == "audio/wav"
        assert root("GET", one, params={"accept": "Audio/WAV"}).headers["Content-Type"] == "audio/wav"

    @pytest.mark.parametrize("asked", [{"params": {"accept": "audio/ogg"}}, {"headers": {"Accept": "audio/ogg"}},
                                       {"headers": {"Accept": "audio/ogg, text/html;q=0.5"}}])
    def test_audio_that_is_not_made_is_refused(self, root, one, asked):
        assert root("GET", one, **asked).status_code == 406

    @pytest.mark.parametrize(("asked", "status", "part"), [
        ("bytes=0-9", 206, slice(0, 10)), ("bytes=10-", 206, slice(10, None)), ("bytes=-5", 206, slice(-5, None)),
        ("bytes=5-1000000000", 206, slice(5, None)), ("bytes=0-0", 206, slice(0, 1)),
        ("bytes=9-5", 200, slice(None)), ("bytes=0-1,3-4", 200, slice(None)), ("lines=1-2", 200, slice(None)),
        ("bytes=x", 200, slice(None))])
    def test_a_part_is_that_part(self, root, one, asked, status, part):
        params = {"accept": "audio/wav"}
        whole = root("GET", one, params=params).content
        answer = root("GET", one, params=params, headers={"Range": asked})
        assert (answer.status_code, answer.content) == (status, whole[part])
        if status == 206:
            first = range(len(whole))[part][0]
            assert answer.headers["Content-Range"] == f"bytes {first}-{first + len(answer.content) - 1}/{len(whole)}"

    @pytest.mark.parametrize("asked", ["bytes=100000000-", "bytes=-0"])
    def test_a_part_that_is_not_there(self, root, one, asked):
        answer = root("GET", one, params={"accept": "audio/wav"}, headers={"Range": asked})
        assert answer.status_code == 416 and answer.headers["Content-Range"].startswith("bytes */")

    def test_the_rest_of_another_file_is_not_sent(self, root, one):
        params = {"accept": "audio/wav"}
        whole = root("GET", one, params=params)
        for said, status in ((whole.headers["ETag"], 206), ('"other"', 200)):
            headers = {"Range": "bytes=10-", "If-Range": said}
            assert root("GET", one, params=params, headers=headers).status_code == status

    def test_who_has_it_does_not_get_it_again(self, root, one):
        etag = root("GET", one, params={"accept": "audio/mpeg"}).headers["ETag"]
        again = root("GET", one, params={"accept": "audio/mpeg"}, headers={"If-None-Match": etag})
        assert (again.status_code, again.content) == (304, b"")
        other = root("GET", one, params={"accept": "audio/mpeg", "channels": "mono"}, headers={"If-None-Match": etag})
        assert other.status_code == 200

    @pytest.mark.parametrize(("said", "status"), [
        ("*", 304), ("W/{}", 304), ('"other", {}', 304), ('"other"', 200), ('"x{}"', 200), ("{}-not", 200)])
    def test_it_is_compared_weakly_with_each_that_the_client_has(self, root, one, said, status):
        params = {"accept": "audio/wav"}
        etag = root("GET", one, params=params).headers["ETag"]
        said = said.format(etag if said != '"x{}"' else etag.strip('"'))
        assert root("GET", one, params=params, headers={"If-None-Match": said}).status_code == status

    @pytest.mark.parametrize("said", ["W/{}", '"other"'])
    def test_a_part_goes_with_the_strong_tag_alone(self, root, one, said):
        params = {"accept": "audio/wav"}
        etag = root("GET", one, params=params).headers["ETag"]
        headers = {"Range": "bytes=10-", "If-Range": said.format(etag)}
        assert root("GET", one, params=params, headers=headers).status_code == 200

    def test_where_the_disk_is_nearly_full_nothing_is_made_and_what_is_there_is_played(
            self, root, one, store, tmp_path, clock):
        nearly_full = Client(make_app(store, "fs1", tmp_path / "recordings", lambda function, args: function(*args),
                                      clock, clock.ms, alarm_below=1.0), root.token)
        there = set((tmp_path / "recordings").rglob("*"))
        assert nearly_full("GET", one, params={"accept": "audio/mpeg"}).status_code == 503
        assert nearly_full("GET", one, params={"accept": "audio/wav"}).status_code == 200
        assert set((tmp_path / "recordings").rglob("*")) == there
        made = root("GET", one, params={"accept": "audio/mpeg"})
        assert nearly_full("GET", one, params={"accept": "audio/mpeg"}).content == made.content
        new, = set((tmp_path / "recordings").rglob("*")) - there
        assert PLAYED in new.name and PLAYED not in made.headers["Content-Disposition"]

    def test_two_first_plays_at_once_make_one_file(self, root, one, monkeypatch):
        made, encoded = [], sound.encode.to_mp3

        def count(master, target, *presentation):
            made.append(target)
            encoded(master, target, *presentation)

        monkeypatch.setattr(sound.encode, "to_mp3", count)
        plays = [gevent.spawn(root, "GET", one, params={"accept": "audio/mpeg"}) for _ in range(3)]
        answers = [play.get(timeout=20) for play in plays]
        assert {answer.status_code for answer in answers} == {200} and len(made) == 1
        assert len({answer.content for answer in answers}) == 1

    def test_an_account_has_one_encoded_at_a_time_and_nobody_who_reads_waits_for_it(
            self, client, root, recording, acme, store, clock, tmp_path):
        reading, encoding, begun, go_on = Threads(1), Threads(2), [], Event()

        def encode(make, args):
            begun.append(args[0]["account_id"])
            first.set()
            go_on.wait(10)
            return encoding.apply(make, args)

        first = Event()
        other = root("PUT", "/v2/accounts", {**ACME, "name": "Globex", "realm": "g.example", "numbers": []}).json
        app = make_app(store, "fs1", tmp_path / "recordings", reading.apply, clock, clock.ms, encode=encode)
        asking = Client(app, root.token)
        paths = [f"/v2/accounts/{account}/recordings/{recording(account)['id']}"
                 for account in (acme, acme, other["data"]["id"])]
        plays = [gevent.spawn(asking, "GET", path, params={"accept": "audio/mpeg"}) for path in paths]
        assert first.wait(10)
        assert asking("GET", paths[0], params={"accept": "audio/wav"}).status_code == 200
        assert asking("GET", paths[2], params={"accept": "audio/wav"}).status_code == 200
        assert sorted(begun) == sorted([acme, other["data"]["id"]])
        go_on.set()
        assert [play.get(timeout=20).status_code for play in plays] == [200] * 3
        reading.kill()
        encoding.kill()

    def test_only_so_many_of_an_account_wait_for_what_is_being_made(
            self, root, one, store, clock, tmp_path):
        go_on = Event()

        def encode(make, args):
            go_on.wait(10)
            return make(*args)

        app = make_app(store, "fs1", tmp_path / "recordings", lambda function, args: function(*args), clock, clock.ms,
                       encode=encode)
        plays = [gevent.spawn(Client(app, root.token), "GET", one, params={"accept": "audio/mpeg"}) for _ in range(8)]
        refused = gevent.wait(plays, timeout=10, count=3)
        assert {(play.value.status_code, play.value.headers["Retry-After"]) for play in refused} == {(503, "5")}
        go_on.set()
        assert sorted(play.get(timeout=20).status_code for play in plays) == [200] * 5 + [503] * 3

    def test_head_tells_and_does_not_send(self, root, one):
        params = {"accept": "audio/wav", "inline": "true"}
        answer = root("HEAD", one, params=params)
        assert answer.content == b"" and answer.headers["Content-Disposition"].startswith("inline")
        assert root("HEAD", one, params=params, headers={"Range": "bytes=0-9"}).status_code == 200
        assert int(answer.headers["Content-Length"]) == len(root("GET", one, params=params).content)

    @pytest.mark.parametrize("state", ["armed", "recording", "paused", "stopped"])
    def test_half_a_file_is_never_sent(self, root, recording, acme, path, state):
        made = recording(acme, state=state)["id"]
        for asked, params in ((f"{path}/{made}", {"accept": "audio/wav"}), (f"{path}/{made}/peaks", {})):
            answer = root("GET", asked, params=params)
            assert answer.status_code == 409 and answer.json["data"]["state"] == state

    @pytest.mark.parametrize("state", ["discarded", "failed"])
    def test_what_has_no_audio_has_none(self, root, recording, acme, path, state):
        made = recording(acme, state=state)["id"]
        assert root("GET", f"{path}/{made}", params={"accept": "audio/wav"}).status_code == 404

    def test_audio_that_is_elsewhere_is_said_to_be(self, root, recording, acme, path, tmp_path):
        made = recording(acme)
        (tmp_path / "recordings" / made["master"]).unlink()
        answer = root("GET", f"{path}/{made['id']}", params={"accept": "audio/wav"})
        assert answer.status_code == 404 and "not here" in answer.json["data"]["message"]

    def test_audio_that_goes_between_look_and_play_is_played_to_its_end(
            self, root, recording, acme, path, monkeypatch, tmp_path):
        made, found = recording(acme), sound.Sound._delivered
        master = tmp_path / "recordings" / made["master"]
        whole = master.read_bytes()

        def gone(*asked):
            file = found(*asked)
            master.unlink()
            return file

        monkeypatch.setattr(sound.Sound, "_delivered", gone)
        assert root("GET", f"{path}/{made['id']}", headers={"Accept": "audio/wav"}).content == whole

    def test_audio_that_made_room_is_said_to_be_removed(self, root, recording, acme, path, tmp_path):
        made = recording(acme, audio_removed_ms=1_795_221_339_000)
        (tmp_path / "recordings" / made["master"]).unlink()
        answer = root("GET", f"{path}/{made['id']}", params={"accept": "audio/wav"})
        assert answer.status_code == 404 and "removed here after its delivery" in answer.json["data"]["message"]
        assert root("GET", f"{path}/{made['id']}").json["data"]["audio_removed_ms"] == 1_795_221_339_000
        happened = root("GET", f"{path}/{made['id']}/explain").json["data"]["happened"]
        assert {"at_ms": 1_795_221_339_000, "what": "its audio was removed here"} in happened

    def test_what_cannot_be_made_as_the_disk_is_full_is_a_503(self, root, one, monkeypatch):
        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(sound.encode, "to_mp3", full)
        answer = root("GET", one, params={"accept": "audio/mpeg"})
        assert answer.status_code == 503 and "disk" in answer.json["data"]["message"]

    def test_its_outline(self, root, one):
        outline = root("GET", f"{one}/peaks", params={"points": "10"}).json["data"]
        assert outline["duration_ms"] == 2000
        assert np.array(outline["channels"]) == pytest.approx(np.full((2, 10), 8000 / 32768), abs=0.001)
        for said in ("0", "9" * 5000):
            assert root("GET", f"{one}/peaks", params={"points": said}).status_code == 400


class TestDeletion:
    def test_what_is_deleted_is_gone_and_its_tombstone_says_who(self, client, root, acme, one, path, store):
        admin = client("admin", acme)
        assert admin("DELETE", one).json["data"]["_read_only"] == {"deleted": True}
        for answer in (admin("GET", one), admin("GET", one, params={"accept": "audio/wav"}), admin("DELETE", one)):
            assert answer.status_code == 404
        assert ids(root("GET", path)) == []
        [tombstone] = root("GET", path, params={"filter_state": "deleted"}).json["data"]
        assert tombstone["deleted_by"] in str(store.access.tokens()) and tombstone["deleted_ms"]

    def test_nothing_more_is_sent_of_it(self, root, one, store):
        recording_id = one.rpartition("/")[2]
        store.recordings.update(recording_id, state="stopped").get()
        store.recordings.finish(recording_id, {"state": "recorded"}, [{
            "recording_id": recording_id, "node": "fs1", "account_id": "acme", "kind": "upload", "url": "x",
            "host": "x", "method": "put", "state": "due", "next_attempt_ms": 0, "give_up_ms": 9,
            "created_ms": 0}]).get()
        root("DELETE", one)
        assert store.deliveries.due("fs1", {("acme", "x"): 10}, 10**15) == []
        assert [row["id"] for row in store.recordings.to_delete("fs1", 10)] == [recording_id]

    def test_what_is_on_legal_hold_stays_until_it_is_lifted(self, client, acme, one):
        admin = client("admin", acme)
        assert admin("PATCH", one, {"legal_hold": True}).json["data"]["legal_hold"] is True
        refused = admin("DELETE", one)
        assert refused.status_code == 409 and "legal hold" in refused.json["data"]["message"]
        admin("PATCH", one, {"legal_hold": False})
        assert admin("DELETE", one).status_code == 200

    @pytest.mark.parametrize("role", ["user", "listener"])
    def test_who_may_listen_may_not_change(self, client, acme, one, role):
        asking = client(role, acme, "ann")
        assert asking("GET", one).status_code == 200
        assert asking("DELETE", one).status_code == asking("PATCH", one, {"legal_hold": True}).status_code == 403

    @pytest.mark.parametrize("state", ["armed", "recording", "stopped"])
    def test_what_is_not_finished_is_not_deleted(self, root, recording, acme, path, state):
        answer = root("DELETE", f"{path}/{recording(acme, state=state)['id']}")
        assert answer.status_code == 409 and answer.json["data"]["state"] == state

    def test_a_text_that_means_it_is_taken(self, root, one):
        assert root("PATCH", one, {"legal_hold": "true"}).json["data"]["legal_hold"] is True
        assert root("PATCH", one, {"legal_hold": "false"}).json["data"]["legal_hold"] is False

    @pytest.mark.parametrize("data", [{}, {"legal_hold": "yes"}, {"legal_hold": True, "state": "failed"}])
    def test_nothing_else_is_changed(self, root, one, data):
        assert root("PATCH", one, data).status_code == 400
        assert root("GET", one).json["data"]["legal_hold"] is False


@pytest.mark.parametrize(("method", "data"), [("PATCH", {"legal_hold": False}), ("DELETE", None)])
def test_a_change_of_what_was_changed_meanwhile_is_a_conflict(root, recording, acme, clock, method, data):
    path = f"/v2/accounts/{acme}/recordings/{recording(acme)['id']}"
    stale = root("GET", path).headers["ETag"]
    clock.now_s += 1
    fresh = root("PATCH", path, {"legal_hold": False}, headers={"If-Match": stale})
    assert fresh.status_code == 200 and fresh.headers["ETag"] != stale
    clock.now_s += 1
    late = root(method, path, data, headers={"If-Match": stale})
    assert (late.status_code, late.json["message"]) == (409, "datastore_conflict")
    assert root(method, path, data, headers={"If-Match": fresh.headers["ETag"]}).status_code == 200


@pytest.mark.parametrize(("method", "data"), [("PATCH", {"legal_hold": False}), ("DELETE", None)])
def test_a_change_between_look_and_write_is_a_conflict(root, recording, acme, clock, store, monkeypatch, method, data):
    row = recording(acme)
    path = f"/v2/accounts/{acme}/recordings/{row['id']}"
    seen = root("GET", path).headers["ETag"]

    def late(write, *args):
        clock.now_s += 1
        store.recordings.update(row["id"], label="theirs").get()
        return write(*args)

    for name in ("hold", "request_delete"):
        monkeypatch.setattr(store.recordings, name, partial(late, getattr(store.recordings, name)))
    assert root(method, path, data, headers={"If-Match": seen}).status_code == 409
    assert root("GET", path).json["data"]["legal_hold"] is False
