"""The switch of a replay: nobody is there to command, so what is ordered is done at once, as FreeSWITCH would do it."""

import re
from collections import deque
from typing import NamedTuple

from kazoo_rec.switch.events import Event

_ARMED = re.compile(r"execute_on_answer_([0-9]{6}-[0-9a-f]{32})=(?:record_session (\S+) \+(\d+))?")
_START = re.compile(r"api uuid_record (\S+) start (\S+) (\d+) \{.*kazoo_rec_id=([0-9]{6}-[0-9a-f]{32})")
_STOP = re.compile(r"api uuid_record (\S+) stop (\S+)")
_SET = re.compile(r"api uuid_setvar_multi (\S+) (.*)")


class _Run(NamedTuple):
    uuid: str
    id: str
    ends_at: int | None


class ObedientSwitch:
    """Arms, starts and stops, and has the events that tell of it in `events`, to be handed on in order.

    `now_ms` is the replay's clock, `time_us` the trace's switch's; both are moved by who replays.
    """

    def __init__(self):
        self.now_ms = self.time_us = 0
        self.events: deque[Event] = deque()
        self._armed: dict[str, dict[str, tuple[str, int]]] = {}
        self._running: dict[str, _Run] = {}
        #: Ids of the recordings that began at their leg's answer, without a command.
        self.began_armed: set[str] = set()

    def send(self, command: str, _timeout_s: float = 0) -> str:
        if found := _SET.match(command):
            armed = self._armed.setdefault(found[1], {})
            for recording_id, path, limit_s in _ARMED.findall(found[2]):
                if path:
                    armed[recording_id] = path, int(limit_s)
                else:
                    armed.pop(recording_id, None)
        elif found := _START.match(command):
            self._start(found[1], found[4], found[2], int(found[3]))
        elif found := _STOP.match(command):
            self._stop(found[2], "success-maxtime")
        return "+OK\n"

    def answered(self, event: Event) -> Event:
        """CHANNEL_ANSWER as it would have been: with what is armed, which begins now."""
        armed = self._armed.pop(event.uuid, {})
        for recording_id, (path, limit_s) in armed.items():
            self.began_armed.add(recording_id)
            self._start(event.uuid, recording_id, path, limit_s)
        return Event({**event.headers, **{f"variable_execute_on_answer_{one}": "record_session" for one in armed}})

    def ended(self, uuid: str):
        """The leg is about to be hung up: its recordings end before it does."""
        self._armed.pop(uuid, None)
        for path in [path for path, run in self._running.items() if run.uuid == uuid]:
            self._stop(path, "success-silence", **{"Answer-State": "hangup"})

    def renamed(self, old: str, new: str):
        if old in self._armed:
            self._armed[new] = self._armed.pop(old)
        self._running = {path: run._replace(uuid=new) if run.uuid == old else run
                         for path, run in self._running.items()}

    def reach_limits(self):
        """Ends what its limit ends by now."""
        for path in [path for path, run in self._running.items() if run.ends_at and run.ends_at <= self.now_ms]:
            self._stop(path, "success-maxtime")

    def _start(self, uuid, recording_id, path, limit_s):
        self._running[path] = _Run(uuid, recording_id, self.now_ms + limit_s * 1000 if limit_s else None)
        self._tell("RECORD_START", uuid, recording_id, path)

    def _stop(self, path, cause, **more):
        run = self._running.pop(path, None)
        if run:
            self._tell("RECORD_STOP", run.uuid, run.id, path, **{"Record-Completion-Cause": cause}, **more)

    def _tell(self, name, uuid, recording_id, path, **more):
        self.events.append(Event({
            "Event-Name": name, "Unique-ID": uuid, "Event-Date-Timestamp": str(self.time_us),
            "Record-File-Path": path, "Recording-Variable-kazoo_rec_id": recording_id, **more}))
