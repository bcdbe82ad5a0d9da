"""What a caller leaves: files that the application `record` writes, for the action record_caller.

The application runs on the leg itself until a digit, silence, its limit or the hang-up ends it. It takes no variables
along, makes no directory (and then hangs up: DESTINATION_OUT_OF_ORDER), and is in no list of recordings; RECORD_START
and RECORD_STOP know it by its path (switch_ivr_play_say.c, switch_ivr_record_file_event).
"""

from collections.abc import Mapping
from typing import NamedTuple

import gevent

from kazoo_rec.calls.actions import plan_of
from kazoo_rec.calls.orders import ROW_WITHIN_S
from kazoo_rec.calls.recording import MESSAGE, NARROWBAND_HZ, WIDEBAND_HZ
from kazoo_rec.errors import WrongState
from kazoo_rec.switch.events import Event


class Message(NamedTuple):
    """`path` is absolute, as the switch sees it; `variables` are to be set on the leg before `record` is executed:
    unbuffered, so that a crash costs milliseconds, and the rate."""

    id: str
    path: str
    variables: Mapping[str, str]


class Messages:
    """Of one switch. `leg(uuid)` finds a leg, as `calls.actions.Actions.leg`."""

    def __init__(self, leg, recorder, files, now_at):
        self._leg, self._recorder, self._files, self._now_at = leg, recorder, files, now_at

    def message(self, account_id: str, uuid: str, settings: Mapping, *, label: str | None = None,
                who: str) -> Message:
        """Prepares one: its row and its directory are there. To be asked for just before `record` is executed, behind
        any beep. `settings` are those of schemas/callflows.record_caller.json.

        Raises WrongState where there is no such leg, no media of it, or no directory: `record` would end the call.
        """
        leg = self._leg(uuid)
        if leg.bypassed:
            raise WrongState("the leg has no media here")
        plan = plan_of(leg, {**settings, "should_follow_transfer": False}, MESSAGE, label, who)
        recording = self._recorder.take_down(leg, plan, account_id, self._now_at())
        try:
            self._files.make_again(recording.directory)
        except OSError as refused:
            self._recorder.failed(recording, f"its directory cannot be made: {refused.strerror}")
            raise WrongState("the directory of a recording cannot be made", str(refused),
                             "recordings_dir has to be writable") from refused
        if recording.row is not None:
            with gevent.Timeout(ROW_WITHIN_S, False):
                recording.row.wait()
        rate = settings.get("record_sample_rate") or (WIDEBAND_HZ if leg.wideband else NARROWBAND_HZ)
        return Message(recording.id, self._files.on_switch(recording.armed_path),
                       {"enable_file_write_buffering": "false", "record_sample_rate": str(rate)})

    def message_ended(self, id: str, event: Event):
        """`record` has ended, as its CHANNEL_EXECUTE_COMPLETE says: the file is closed. RECORD_STOP, and the end of the
        leg, do the same."""
        self._recorder.endings.message_ended(id, event)
