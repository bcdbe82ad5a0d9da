"""One channel: its state, its variables, what it says and hears, and the events it sends."""

import uuid
from urllib.parse import unquote

from . import dialplan, sip
from .process import HungUp, Mailbox, Process

#: The switch's media runs in steps of this many seconds.
FRAME_S = 0.02
#: Tones that the switch itself plays, Hz: ringback to a caller who waits, music to a leg that was put on hold.
RINGBACK_HZ, MUSIC_HZ = 425, 280
_MUSIC = "local_stream://moh"

#: ITU-T Q.850 numbers of the hang-up causes; others count as 31 (normal, unspecified).
Q850 = {"NORMAL_CLEARING": 16, "USER_BUSY": 17, "NO_ANSWER": 19, "CALL_REJECTED": 21, "DESTINATION_OUT_OF_ORDER": 27,
        "INCOMPATIBLE_DESTINATION": 88, "ORIGINATOR_CANCEL": 487, "LOSE_RACE": 502, "SYSTEM_SHUTDOWN": 503}


def new_uuid() -> str:
    return str(uuid.uuid4())


class Leg:
    """A channel from CHANNEL_CREATE to CHANNEL_DESTROY.

    `originator` is the leg that called it, None for a caller. News of it (it rings, has media, answers, is gone) go to
    the mailbox of its originator, or to its own.
    """

    def __init__(self, call, phone, *, name, profile, variables, presence_id="", originator=None):
        self.call, self.switch, self.clock, self.phone = call, call.switch, call.switch.clock, phone
        self.name, self.profile, self.variables, self.presence_id = name, profile, variables, presence_id
        self.uuid, self.direction, self.originator = profile.uuid, profile.direction, originator
        self.exports, self.news, self.digits = {}, Mailbox(), Mailbox()
        self.state, self.call_state, self.answer_state = ("CS_NONE", 1), "DOWN", "ringing"
        self.early = self.answered = self.held = False
        self.media = not call.without_media(phone)
        self.cause, self.other, self.partner, self.twin, self.process = "", None, None, None, None
        self.playing = None
        self.recordings, self.recorded = [], []
        self._tone, self._armed = 0, []
        self._stamp("Profile-Created", "Channel-Created")

    @property
    def plumbing(self) -> bool:
        """Whether it is half of a loopback channel."""
        return self.twin is not None

    @property
    def rate(self) -> int:
        return sip.CODECS[self.phone.codec][2]

    @property
    def says_hz(self) -> int:
        if self.twin is not None:
            return self.twin.hears_hz
        return 0 if self.held else self._tone

    @property
    def hears_hz(self) -> int:
        if self.playing is not None:
            return self.playing
        return self.partner.says_hz if self.partner is not None else 0

    @property
    def unheard(self) -> bool:
        """Whether nobody writes to it."""
        return self.playing is None and self.partner is None

    # Coming into being

    def created(self):
        """It is in the switch from here on, and its phone begins to act."""
        self.switch.legs[self.uuid] = self
        self.call.legs.append(self)
        self.state = ("CS_INIT", 2)
        self.publish("CHANNEL_CREATE")
        self.state = ("CS_EXECUTE", 4) if self.direction == "inbound" else ("CS_CONSUME_MEDIA", 7)
        self.call_state = "RINGING" if self.direction == "inbound" else "DOWN"
        if not self.plumbing:
            self._behave()

    def _behave(self):
        phone = self.phone
        tones = phone.says if hasattr(phone.says, "items") else {0.0: phone.says}
        for at, hz in tones.items():
            self._later(at, self._say, hz)
        if self.direction == "outbound":
            self._later(phone.rings, self.ring)
            self._later(phone.early_media, self.pre_answer)
            if phone.refuses:
                self._later(phone.answers or 0.0, self.hangup, phone.refuses)
            else:
                self._later(phone.answers, self.answer)
        for begins, ends in phone.holds:
            self._later(begins, self.hold)
            self._later(ends, self.unhold)
        for at, digit in phone.presses.items():
            self._later(at, self.press, digit)
        self._later(phone.hangs_up, self._put_down)

    def _later(self, seconds, what, *values):
        if seconds is not None:
            self.clock.after(seconds, lambda: self.cause or what(*values))

    def _say(self, hz):
        self.call.settle()
        self._tone = hz

    def _put_down(self):
        cancels = self.direction == "inbound" and not self.answered
        self.hangup("ORIGINATOR_CANCEL" if cancels else self.phone.cause)

    # Progress

    def ring(self):
        if not self.early and not self.answered:
            if self.direction == "outbound":
                self.variables |= sip.replied(self)
            self._stamp("Channel-Progress")
            self.publish("CHANNEL_PROGRESS")
            self.call_state = "RINGING"
            self._tell("rings")

    def pre_answer(self):
        """183 with media, in either direction."""
        if self.early or self.answered:
            return
        self.call.settle()
        self.early, self.answer_state = True, "early"
        if not self.plumbing:
            self._negotiate()
        self.variables["endpoint_disposition"] = "EARLY MEDIA"
        if self.twin is not None and self.direction == "inbound":
            self.twin.pre_answer()
        self._stamp("Channel-Progress-Media")
        self.publish("CHANNEL_PROGRESS_MEDIA")
        self.call_state = "EARLY"
        self._tell("media")

    def answer(self):
        """200 in either direction. Whoever calls it for a leg with a dialplan then runs `armed`."""
        if self.answered:
            return
        self.call.settle()
        self.answered, self.answer_state = True, "answered"
        if not self.plumbing and not self.early:
            self._negotiate()
        if self.twin is not None and self.direction == "inbound":
            self.twin.answer()
        self._stamp("Channel-Answered")
        # The event is built before execute_on_answer runs (switch_channel.c): it tells whether an arming is in time.
        self.publish("CHANNEL_ANSWER")
        self._armed = [value for name, values in self.variables.items() if name.startswith("execute_on_answer")
                       for value in _each(values)]
        self.variables["endpoint_disposition"] = "ANSWER"
        self.call_state = "ACTIVE"
        if self.direction == "outbound":
            Process(self.clock, self.armed())
        self._tell("answers")

    def armed(self):
        """What execute_on_answer* names, in the order of setting: at once on a caller's leg, a frame later on a called one."""
        wait = self.direction == "outbound"
        while self._armed and not self.cause:
            if wait:
                yield FRAME_S
            wait = True
            if not self.cause:
                application, data = _application(self._armed.pop(0))
                yield from self.execute(application, data)

    def joined(self, other: "Leg"):
        """The leg is bridged with `other` from now on."""
        self.partner, self.playing = other, None
        self.other = (self.other[0] if self.other else "originatee", other.profile.copied())
        self._stamp("Channel-Bridged")
        self.variables |= {"bridge_to": other.uuid, "last_bridge_to": other.uuid, "bridge_channel": other.name,
                           "bridge_uuid": other.uuid, "signal_bond": other.uuid}
        if self.direction == "outbound" and self.originator is not None:
            self.state = ("CS_EXCHANGE_MEDIA", 5)
        if self.answered:
            self.call_state = "ACTIVE"

    def parted(self):
        self.call.settle()
        self.partner = self.playing = None
        self.variables.pop("bridge_to", None)

    def enrol(self):
        """The `user` endpoint is done with its only target: a second CHANNEL_OUTGOING, and the directory's variables."""
        self.publish("CHANNEL_OUTGOING", variables=False)
        self.variables |= {**sip.directory(self.phone), "originate_endpoint": "user"}

    # Hold

    def hold(self):
        if self.answered and not self.held:
            self.call.settle()
            self.held, self.call_state = True, "HELD"
            self.profile.times["Channel-Last-Hold"] = self.clock.epoch_us()
            self.publish("CHANNEL_HOLD")
            if self.partner is not None:
                self.clock.after(8 * FRAME_S, self._entertain)

    def unhold(self):
        if self.held:
            self.call.settle()
            self.held, self.call_state = False, "UNHELD"
            self.profile.times["Channel-Hold-Accum"] += self.clock.epoch_us() - self.profile.times["Channel-Last-Hold"]
            if self.partner is not None and self.partner.playing == MUSIC_HZ:
                self.partner.playing = None
                self.partner.played(_MUSIC, "break")
                self.partner.executed("playback", _MUSIC, "FILE PLAYED")
            self.publish("CHANNEL_UNHOLD")
            self.call_state = "ACTIVE"
            for recording in list(self.recordings):
                recording.heed_limit()

    def _entertain(self):
        if self.held and self.partner is not None and not self.partner.held:
            self.call.settle()
            self.partner.playing = MUSIC_HZ
            self.partner.plays(_MUSIC)

    # What it executes

    def run(self, applications):
        """Its dialplan, `application data` each, and its end; a generator for a Process."""
        for line in applications:
            if self.cause:
                break
            yield from self.execute(*_application(line))
        self.hangup("NORMAL_CLEARING")
        self._finish()

    def execute(self, application, data):
        known = dialplan.APPLICATIONS.get(application)
        if known is None:
            self.hangup("DESTINATION_OUT_OF_ORDER")
            return
        self.variables |= {"current_application_data": data, "current_application": application}
        response = "_none_"
        try:
            response = (yield from known(self, data)) or response
        except HungUp:
            pass
        self.executed(application, data, response)

    def executed(self, application, data, response):
        self.publish("CHANNEL_EXECUTE_COMPLETE", after={
            "Application": application, "Application-Data": data, "Application-Response": response,
            "Application-UUID": new_uuid()})

    def plays(self, path):
        self.publish("PLAYBACK_START", after={"Playback-File-Type": path.partition("://")[0], "Playback-File-Path": path})

    def played(self, path, status):
        self.publish("PLAYBACK_STOP", after={"Playback-File-Type": path.partition("://")[0], "Playback-File-Path": path,
                                             "Playback-Status": status})

    def press(self, digit):
        if self.answered:
            self.publish("DTMF", variables=False,
                         after={"DTMF-Digit": str(digit), "DTMF-Duration": "1440", "DTMF-Source": "RTP"})
            self.digits.put(str(digit))

    # Its end

    def hangup(self, cause="NORMAL_CLEARING"):
        if self.cause:
            return
        self.call.settle()
        self.cause, self.answer_state = cause, "hangup"
        self.state = (self.state[0], 10)
        self.publish("CHANNEL_HANGUP")
        self._stamp("Channel-Hangup")
        self.state = ("CS_HANGUP", 10)
        if self.process is not None:
            self.process.interrupt()
        else:
            self._finish()
        if self.twin is not None:
            self.twin.hangup("NORMAL_CLEARING")
        self._tell("gone")

    def _finish(self):
        self.stop_recordings("success-silence")
        self.variables |= self._accounts()
        self.state, self.call_state = ("CS_REPORTING", 11), "HANGUP"
        self.publish("CHANNEL_HANGUP_COMPLETE", before={"Hangup-Cause": self.cause})
        self.state = ("CS_REPORTING", 12)
        self.publish("CHANNEL_DESTROY")
        self.switch.forget(self)
        self.call.left(self)

    def stop_recordings(self, cause):
        """All of them; gives whether there was one. The files are closed before any bug is taken off."""
        going = list(self.recordings)
        for recording in going:
            recording.finish(cause)
        for recording in going:
            recording.detach()
        return bool(going)

    # Telling

    def publish(self, event, before=(), after=(), variables=True):
        self.switch.publish(event, lambda: {**dict(before), **self.headers(variables), **dict(after)})

    def headers(self, variables=True) -> dict:
        headers = {
            "Channel-State": self.state[0], "Channel-Call-State": self.call_state,
            "Channel-State-Number": str(self.state[1]), "Channel-Name": self.name, "Unique-ID": self.uuid,
            "Call-Direction": self.direction, "Presence-Call-Direction": self.direction,
            "Channel-HIT-Dialplan": "true" if self.direction == "inbound" else "false",
        }
        if self.presence_id:
            headers["Channel-Presence-ID"] = self.presence_id
        headers["Channel-Call-UUID"] = self.variables.get("call_uuid", self.uuid)
        headers["Answer-State"] = self.answer_state
        if self.cause:
            headers["Hangup-Cause"] = self.cause
        if "read_codec" in self.variables:
            _, _, rate, bits = sip.CODECS[self.phone.codec]
            for side in ("Read", "Write"):
                headers |= {f"Channel-{side}-Codec-Name": self.phone.codec, f"Channel-{side}-Codec-Rate": str(rate),
                            f"Channel-{side}-Codec-Bit-Rate": str(bits)}
        headers |= self.profile.headers("Caller")
        if self.other is not None:
            headers["Other-Type"] = self.other[0]
            headers |= self.other[1].headers("Other-Leg")
        if variables:
            for name, value in self.variables.items():
                headers[f"variable_{name}"] = value
        return headers

    def _tell(self, what):
        to = self.originator or self
        if not to.cause:
            to.news.put((what, self))

    def _stamp(self, *names):
        for name in names:
            self.profile.times[name] = self.profile.times[name] or self.clock.epoch_us()

    def _negotiate(self):
        if self.direction == "outbound":
            self.variables |= sip.replied(self)
        if self.media:
            self.variables |= sip.negotiated(self.phone.codec)

    def _accounts(self):
        """What CHANNEL_HANGUP_COMPLETE adds for call detail records."""
        times = self.profile.times
        moments = {"start": "Channel-Created", "profile_start": "Profile-Created", "answer": "Channel-Answered",
                   "bridge": "Channel-Bridged", "progress": "Channel-Progress",
                   "progress_media": "Channel-Progress-Media", "end": "Channel-Hangup"}
        accounts = {"hangup_cause": self.cause, "hangup_cause_q850": str(Q850.get(self.cause, 31)),
                    "digits_dialed": "none"}
        for name, header in moments.items():
            accounts |= {f"{name}_epoch": str(times[header] // 1_000_000), f"{name}_uepoch": str(times[header])}
        ended, answered = times["Channel-Hangup"], times["Channel-Answered"]
        for name, since in (("duration", times["Channel-Created"]), ("billsec", answered)):
            us = ended - since if since else 0
            short = name.removesuffix("sec")
            accounts |= {name: str(us // 1_000_000), f"m{name}" if short == name else f"{short}msec": str(us // 1000)}
        return accounts


def _application(line: str) -> tuple[str, str]:
    """`app data` or `app::data`; only a blank or two colons part them."""
    blank, colons = line.find(" "), line.find("::")
    if colons >= 0 and (blank < 0 or colons < blank):
        return line[:colons], line[colons + 2:]
    name, _, data = line.partition(" ")
    return name, data.strip()


def _each(value) -> list[str]:
    value = value if isinstance(value, str) else "ARRAY::" + "|:".join(value)
    return value[7:].split("|:") if value.startswith("ARRAY::") else [value]


__all__ = ["FRAME_S", "MUSIC_HZ", "RINGBACK_HZ", "Leg", "new_uuid", "unquote"]
