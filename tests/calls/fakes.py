"""A switch and a store that answer at once, and events as FreeSWITCH 1.10.12 words them."""

import re
from contextlib import contextmanager

from gevent.event import AsyncResult

from kazoo_rec.calls.files import Files
from kazoo_rec.calls.identity import Identifier, IdentityRules
from kazoo_rec.calls.meter import Meter
from kazoo_rec.calls.recorder import Recorder
from kazoo_rec.calls.registrations import Registrations
from kazoo_rec.calls.tracker import Tracker
from kazoo_rec.documents.directory import Directory
from kazoo_rec.errors import CommandFailed
from kazoo_rec.switch.events import Event

ROOT = "/rec"

#: What CHANNEL_ANSWER has of a leg with media.
CODEC = {"Channel-Read-Codec-Name": "PCMU"}


def done(value=None, error=None):
    result = AsyncResult()
    if error:
        result.set_exception(error)
    else:
        result.set(value)
    return result


class FakeRows:
    """The store's recordings as a dict. `written` is the answer to each change from then on."""

    def __init__(self):
        self.by_id, self.told, self.written = {}, [], done(1)

    def insert(self, row):
        self.by_id.setdefault(row["id"], {"cause": None, "started_ms": None, "stopped_ms": None, **row})
        return done(1)

    def update(self, recording_id, **columns):
        self.by_id[recording_id].update(columns)
        return self.written

    def update_open(self, recording_id, **columns):
        row = self.by_id.get(recording_id)
        if row and row["state"] in ("armed", "recording", "paused"):
            row.update(columns)
        return done(0)

    def tell(self, recording_id, columns, delivery, states=()):
        row = self.by_id[recording_id]
        if not states or row["state"] in states:
            row.update(columns)
            self.told.append((recording_id, delivery))
        return done(1)

    def notify(self, delivery):
        self.told.append((None, delivery))
        return done(1)

    def open(self, node):
        return [dict(row) for row in self.by_id.values() if row["state"] in ("armed", "recording", "paused")]

    def open_ids(self, node):
        return [row["id"] for row in self.open(node)]

    def get(self, recording_id):
        return self.by_id.get(recording_id)

    def of_calls(self, node, call_ids):
        return [dict(row) for row in self.by_id.values() if row["call_id"] in call_ids and row["node"] == node]


def buglist(paths):
    bugs = "".join(f"<function>session_record</function>\n <target>{path}</target>\n" for path in paths)
    return f"<media-bugs>\n{bugs}</media-bugs>\n"


class FakeSwitch:
    """Takes commands and answers as told: `replies` maps a piece of a command to its reply or an exception, and
    `runs(uuid)` is what it records of a leg."""

    def __init__(self):
        self.commands, self.replies, self.obeys = [], {}, lambda command: None
        self.runs = lambda uuid: ()

    def send(self, command, timeout_s):
        self.commands.append(str(command))
        for piece, reply in self.replies.items():
            if piece in command:
                if isinstance(reply, Exception):
                    raise reply
                return reply
        self.obeys(command)
        if command.startswith("api uuid_buglist "):
            return buglist(self.runs(command.split()[-1]))
        return "+OK\n"

    def of(self, piece):
        return [command for command in self.commands if piece in command]


class Scene:
    """One switch with its legs, driven by events; the clock goes where a test sends it."""

    def __init__(self, documents, rules=None, spawn=None, observe=False, send=None, rows=None, files=None):
        self.switch, self.rows, self.registrations = FakeSwitch(), rows or FakeRows(), Registrations()
        self.removed, self.made, self.later, self.meter = [], [], [], Meter()
        self.directory = Directory().apply([
            {"kind": kind, "account_id": account, "id": id, "body": body, "deleted": False, "seq": seq}
            for seq, (kind, account, id, body) in enumerate(documents, 1)])
        files = files or Files(ROOT, ROOT, self._run)
        self.recorder = Recorder("fs1", send or self.switch.send, self.rows, files, lambda: self.epoch_ms,
                                 spawn=spawn or self._spawn, observe=observe, meter=self.meter, listen=self._listen,
                                 webhook=lambda row, state: row["settings"].get("status_callback") and state,
                                 on_no_recording=lambda account_id: self.directory.on_no_recording(account_id))
        self.tracker = Tracker(Identifier(rules or IdentityRules(), self.registrations), self.registrations,
                               lambda: self.directory, self.recorder)
        self.switch.runs = self._runs
        self.now, self.listened, self.deaf = 0, set(), None
        self.held_back = None

    @property
    def epoch_ms(self):
        return 1_795_221_338_000 + self.now

    def _runs(self, uuid):
        leg = self.tracker.leg(uuid)
        return [f"{ROOT}/{path}" for one in (leg.recordings if leg else ()) for path in one.running
                if not one.ended.is_set()]

    def _run(self, function, args):
        (self.removed if function.__name__ == "_remove" else self.made).append(args[-1].removeprefix(f"{ROOT}/"))

    def _listen(self, names):
        if self.deaf:
            raise self.deaf
        self.listened |= set(names)

    def _spawn(self, function, *args):
        if self.held_back is None:
            function(*args)
        else:
            self.held_back.append((function, args))

    @contextmanager
    def slow_switch(self):
        """Commands wait until the block ends, as behind others on a busy connection."""
        self.held_back = []
        yield
        waiting, self.held_back = self.held_back, None
        for function, args in waiting:
            function(*args)

    def after(self, ms):
        self.now += ms
        self.tracker.tick(self.now)
        return self

    def event(self, name, uuid, **headers):
        self.tracker.feed(Event({
            "Event-Name": name, "Unique-ID": uuid, "Event-Date-Timestamp": str(self.epoch_ms * 1000), **headers}),
            self.now)
        return self

    def create(self, uuid, direction="inbound", name="sofia/internal/x", **variables):
        headers = {"Call-Direction": direction, "Channel-Name": name}
        for key, value in variables.items():
            headers[key if key[0].isupper() else f"variable_{key}"] = value
        return self.event("CHANNEL_CREATE", uuid, **{key.replace("__", "-"): value for key, value in headers.items()})

    def phone_calls(self, uuid, user, realm="acme.example"):
        """A phone that FreeSWITCH has authenticated."""
        return self.create(uuid, sip_authorized="true", sip_auth_username=user, sip_auth_realm=realm,
                           sofia_profile_name="internal")

    def carrier_calls(self, uuid, number):
        return self.create(uuid, sofia_profile_name="external", sip_req_user=number, Caller__Context="public")

    def rings(self, uuid, originator, user, domain="acme.example"):
        return self.create(uuid, "outbound", originator=originator, dialed_user=user, dialed_domain=domain,
                           sofia_profile_name="internal")

    def rings_carrier(self, uuid, originator):
        return self.create(uuid, "outbound", originator=originator, sip_gateway_name="carrier",
                           sofia_profile_name="external", sip_destination_url="sip:442071838750@192.0.2.9")

    def answer(self, uuid, start=True):
        """CHANNEL_ANSWER with what is armed by now, and RECORD_START of each, as the switch does it."""
        armed = self.armed(uuid)
        self.event("CHANNEL_ANSWER", uuid, **{
            **CODEC, **{f"variable_execute_on_answer_{id}": "record_session" for id in armed}})
        if start:
            for id, path in armed.items():
                self.record_start(uuid, id, path)
        return self

    def bridge(self, a, b, **variables):
        return self.event("CHANNEL_BRIDGE", a, **{"Bridge-A-Unique-ID": a, "Bridge-B-Unique-ID": b, **{
            f"variable_{name}": value for name, value in variables.items()}})

    def answer_unarmed(self, uuid):
        """CHANNEL_ANSWER that comes before any arming has been executed."""
        return self.event("CHANNEL_ANSWER", uuid, **CODEC)

    def record_start(self, uuid, id, path):
        return self.event("RECORD_START", uuid, **{"Recording-Variable-kazoo_rec_id": id, "Record-File-Path": path})

    def record_stop(self, uuid, id, path, cause="success-silence", **headers):
        return self.event("RECORD_STOP", uuid, **{
            "Recording-Variable-kazoo_rec_id": id, "Record-File-Path": path, "Record-Completion-Cause": cause,
            **headers})

    def obedient(self):
        """The switch begins and ends recordings as it is told by command."""
        def obey(command):
            found = re.match(r"api uuid_record (\S+) (start|stop) (\S+/(\S+?)(?:\.f)?\.wav)", command)
            if found:
                uuid, action, path, id = found.groups()
                (self.record_start if action == "start" else self.record_stop)(uuid, id, path)
        self.switch.obeys = obey
        return self

    def hang_up(self, uuid, cause="NORMAL_CLEARING", **variables):
        """RECORD_STOP of what runs, then the end of the leg."""
        for id, row in list(self.rows.by_id.items()):
            if row["call_id"] == uuid and row["state"] == "recording":
                self.record_stop(uuid, id, f"{ROOT}/{row['master']}", **{"Answer-State": "hangup"})
        self.event("CHANNEL_HANGUP_COMPLETE", uuid, **{
            "Hangup-Cause": cause, **{f"variable_{name}": value for name, value in variables.items()}})
        return self.event("CHANNEL_DESTROY", uuid)

    def armed(self, uuid):
        """{recording id: path} armed on a leg by the commands so far, less what was disarmed."""
        found = {}
        for command in self.switch.of(f"uuid_setvar_multi {uuid} "):
            for id, rest in re.findall(r"execute_on_answer_([0-9]{6}-[0-9a-f]{32})=([^;]*)", command):
                if rest:
                    found[id] = rest.split()[1]
                else:
                    found.pop(id, None)
        return found

    def recordings(self):
        """{(rule, leg): state} of every row."""
        return {(row["rule"], row["call_id"]): row["state"] for row in self.rows.by_id.values()}

    def row(self, rule=None):
        rows = [row for row in self.rows.by_id.values() if rule in (None, row["rule"])]
        assert len(rows) == 1, rows
        return rows[0]


NO_MEDIA = CommandFailed("the switch refused", "-ERR Cannot record session!")
