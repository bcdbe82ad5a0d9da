"""A switch with a conference room."""

import json
import re

from kazoo_rec.calls.clock import SwitchClock
from kazoo_rec.calls.files import Files
from kazoo_rec.calls.recovery import Recovery
from kazoo_rec.calls.room_recorder import RoomRecorder
from kazoo_rec.calls.rooms import Rooms
from kazoo_rec.calls.tracker import Tracker
from kazoo_rec.errors import CommandFailed

from .fakes import CODEC, ROOT, Scene, buglist

DOCUMENTS = [("account", account, account, {"realm": f"{account}.example"}) for account in ("acme", "globex")]
NAME, ROOM_ID = "3500-acme.example", "b239fba4-2dd3-43cf-9e2f-6761f28d96f2"


class Hall(Scene):
    """A switch with one room, in which `alice`, `bob` and `carol` of acme meet; `elsewhere` are legs that left it.

    What it is told of recordings it does, and says so, unless it is `deaf`; `quiet` keeps a room's to itself, but the
    end; `cannot_open` files, once each."""

    def __init__(self, rows=()):
        super().__init__(DOCUMENTS, send=self.send)
        self.rows.by_id.update(rows)
        self.deaf, self.files = False, Files(ROOT, ROOT, self._run)
        self.rooms = Rooms(
            "fs1", lambda uuid: self.tracker.leg(uuid), self.recorder,
            RoomRecorder("fs1", self.send, self.rows, self.files, lambda: self.epoch_ms, spawn=self._spawn),
            self.send, self.rows, self.files, lambda: self.epoch_ms, lambda: self.now, self._spawn)
        self.tracker = Tracker(self.tracker._identifier, self.registrations, lambda: self.directory, self.recorder,
                               rooms=self.rooms)
        self.recovery = Recovery("fs1", self.tracker, self.recorder, self.registrations, self.rows, self.files,
                                 SwitchClock(lambda: self.epoch_ms, lambda: self.now), lambda: self.now,
                                 rooms=self.rooms)
        self.members, self.recorded, self.legs, self.elsewhere = {}, {}, {}, set()
        self.cannot_open, self.quiet = [], False

    def send(self, command, timeout_s, into=None):
        reply = self.switch.send(command, timeout_s)
        if not self.deaf:
            if ours := re.fullmatch(r"api conference \S+ recording (\w+) (\S+)", command):
                self.obey(*ours.groups())
            elif ours := re.fullmatch(r"api uuid_record (\S+) start (\S+) .*kazoo_rec_id=([0-9a-f-]+),.*", command):
                self.legs.setdefault(ours[1], []).append(ours[2])
                self.record_start(ours[1], ours[3], ours[2])
            elif ours := re.fullmatch(r"api uuid_record (\S+) stop (\S+)", command):
                if ours[1] not in self.legs:
                    raise CommandFailed("the switch refused", "-ERR Cannot locate session!\n")
                self.legs[ours[1]].remove(ours[2])
                self.record_stop(ours[1], ours[2].rpartition("/")[2].partition(".")[0], ours[2], "success-maxtime")
        if command == "api strmicroepoch":
            return f"{self.epoch_ms * 1000}"
        said = self.said_of(*command.split()[1:3]) or reply
        return into(said.encode()) or "" if into else said

    def said_of(self, name, uuid):
        if (name, uuid) == ("conference", "json_list"):
            return json.dumps(self.listed())
        if name == "show":
            rows = [{"uuid": uuid, "direction": "inbound", "call_uuid": uuid}
                    for uuid in {*self.members, *self.elsewhere}]
            return json.dumps({"row_count": len(rows), "rows": rows}, separators=",:")
        if name == "uuid_exists":
            return json.dumps(uuid in self.members or uuid in self.elsewhere)
        if name == "uuid_buglist":
            return buglist(self.legs.get(uuid, ()))
        if name == "uuid_dump":
            return json.dumps({
                "Event-Name": "CHANNEL_DATA", "Unique-ID": uuid, "Call-Direction": "inbound", **CODEC,
                "Channel-Name": "sofia/internal/x", "Event-Date-Timestamp": str(self.epoch_ms * 1000),
                "Caller-Channel-Answered-Time": str((self.epoch_ms - 5000) * 1000), "Answer-State": "answered",
                "variable_sip_authorized": "true", "variable_sip_auth_username": uuid,
                "variable_sip_auth_realm": "acme.example"})
        return None

    def obey(self, action, path):
        if action == "start" and self.cannot_open:
            if self.cannot_open.pop():
                self.room("start-recording", Path=path, Error="File could not be opened for recording")
            self.room("stop-recording", Path=path, **{"Samples-Out": "0"})
            return
        if action == "start":
            self.recorded[path] = self.epoch_ms // 1000
        said = {"Samples-Out": "8000"} if action == "stop" and self.recorded.pop(path) else {}
        if action == "stop" or not self.quiet:
            self.room(f"{action}-recording", Path=path, **said)

    def listed(self):
        nodes = [{"type": "recording_node", "record_path": path, "join_time": at} for path, at in self.recorded.items()]
        callers = [{"type": "caller", "uuid": uuid, "flags": {"can_speak": speaks}}
                   for uuid, speaks in self.members.items()]
        room = {"conference_name": NAME, "conference_uuid": ROOM_ID, "run_time": 5, "members": nodes + callers}
        return [room] if callers else []

    def room(self, action, uuid="", **headers):
        return self.event("CUSTOM", uuid, **{
            "Event-Subclass": "conference::maintenance", "Conference-Name": NAME, "Conference-Unique-ID": ROOM_ID,
            "Action": action, **{key.replace("_", "-"): value for key, value in headers.items()}})

    def comes(self, *uuids, realm="acme.example", speak="true"):
        for uuid in uuids:
            if not self.members:
                self.room("conference-create")
            if self.tracker.leg(uuid) is None:
                self.phone_calls(uuid, uuid, realm).answer(uuid)
            self.members[uuid] = speak == "true"
            self.elsewhere.discard(uuid)
            self.room("add-member", uuid, Speak=speak)
        return self

    def goes(self, *uuids, hangs_up=True):
        for uuid in uuids:
            del self.members[uuid]
            self.room("del-member", uuid, Answer_State="hangup" if hangs_up else "answered")
            if hangs_up:
                self.hang_up(uuid)
            else:
                self.elsewhere.add(uuid)
            if not self.members:
                for path in list(self.recorded):
                    self.obey("stop", path)
                self.room("conference-destroy")
        return self

    def goes_unheard(self, *uuids):
        """They talk elsewhere, and nobody heard of it."""
        self.elsewhere |= set(uuids)
        for uuid in uuids:
            del self.members[uuid]
        return self

    def mutes(self, uuid, muted=True):
        self.members[uuid] = not muted
        return self.room("mute-member" if muted else "unmute-member", uuid)

    def record(self, what="room", account="acme", name=NAME, uuid=None, **settings):
        return self.rooms.record(account, name, what, settings, "token t", uuid)

    def change(self, action, what="both", **others):
        return self.rooms.change("acme", NAME, action, "token t", what, **others)

    def rows_of(self, call_id):
        return [row for row in self.rows.by_id.values() if row["call_id"] == call_id]

    def killed_and_started(self, after_ms=0):
        """Another engine, on the same switch and store, that has not asked the switch yet."""
        later = Hall(self.rows.by_id)
        later.members, later.recorded, later.legs = self.members, self.recorded, self.legs
        later.elsewhere = self.elsewhere
        later.now = self.now + after_ms
        return later

    def sweep(self):
        self.recovery.sweep(self.send, doubtful=True)
        return self

    def told(self, piece):
        """{leg or room: how often it was told}."""
        return [command.split()[2] for command in self.switch.of(piece)]
