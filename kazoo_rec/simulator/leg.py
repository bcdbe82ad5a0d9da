"""One leg of a call: how it comes, rings, answers, is bridged and hung up."""

from kazoo_rec.simulator import sip
from kazoo_rec.simulator.arming import Arming
from kazoo_rec.simulator.channel import Channel
from kazoo_rec.simulator.headers import accounts, channel_headers
from kazoo_rec.simulator.orders import Orders
from kazoo_rec.simulator.process import Mailbox
from kazoo_rec.simulator.route import lines_to, redirect
from kazoo_rec.simulator.voice import Voice


class Leg(Channel, Voice):
    """A channel from CHANNEL_CREATE to CHANNEL_DESTROY.

    `originator` is the leg that called it, None for a caller; `twin` the other half of a loopback channel. That it
    rings, has media, answers or is gone is put as (what, leg) into the `news` of the leg `news_to`: its originator, of
    a leg that the switch itself dialled its own, of one that uuid_bridge brought to another that. `link` is the
    connection to the program that controls it, if any, and `parking` is what it waits for while that program orders.
    `recordings` are its media bugs, `tapes` what else writes down what it says; `is_decoded` while an application takes
    its audio as samples; `member` is what it is in a conference, `displaced` are the sounds in what it hears, by path.
    `first_profile` and `shown_application` are what `show channels` has of it.
    """

    def __init__(self, call, phone, *, name, profile, variables, presence_id="", originator=None):
        self.call, self.switch, self.clock, self.phone = call, call.switch, call.switch.clock, phone
        self.name, self.profile, self.variables, self.presence_id = name, profile, variables, presence_id
        self.first_profile = profile
        self.uuid, self.direction, self.originator = profile.uuid, profile.direction, originator
        self.news, self.digits, self.shown_application = Mailbox(), Mailbox(), None
        self.news_to = originator or (self if self.direction == "outbound" else None)
        self.state, self.call_state, self.answer_state = ("CS_NONE", 1), "DOWN", "ringing"
        self.early = self.answered = self.held = False
        self.hits_dialplan = self.direction == "inbound"
        self.media, self.media_left = call.has_media(phone), False
        self.cause, self.other, self.partner, self.twin, self.process = "", None, None, None, None
        self.tone_hz, self.playing_hz, self.handed_on = 0, None, []
        self.recordings, self.recorded, self.files, self.tapes = [], [], {}, []
        self.silent_since, self.is_decoded, self.member, self.displaced = 0.0, False, None, {}
        self._arming, self._is_finished = Arming(self), False
        self.orders, self.link, self.parking, self.eats_digits = Orders(self), None, None, False
        self.created, self.is_lone_user = self.clock.now, False
        self.stamp("Profile-Created", "Channel-Created")

    # How it comes

    def create(self):
        self.state = ("CS_INIT", 10 if self.cause else 2)
        self.publish("CHANNEL_CREATE")
        if self.direction == "inbound":
            self.state, self.call_state = ("CS_EXECUTE", 4), "RINGING"
        else:
            self.publish("CHANNEL_ORIGINATE")
            self.state = ("CS_CONSUME_MEDIA", 7)

    def ring(self):
        if self.early or self.answered:
            return
        self._hear_from_phone()
        self.stamp("Channel-Progress")
        self.publish("CHANNEL_PROGRESS")
        self.call_state = "RINGING"
        self._tell("rings")

    def pre_answer(self):
        """183 with media, in either direction; 180 where the media goes around the switch."""
        if self.early or self.answered:
            return
        if self.call.bypasses_media:
            if not self.profile.times["Channel-Progress"]:
                self.ring()
            return
        self.call.settle()
        self.early, self.answer_state = True, "early"
        self._hear_from_phone()
        if self.direction == "inbound":
            self.negotiate()
        self.variables["endpoint_disposition"] = "EARLY MEDIA"
        if self.twin is not None and self.direction == "inbound":
            self.twin.pre_answer()
        self.stamp("Channel-Progress-Media")
        self.publish("CHANNEL_PROGRESS_MEDIA")
        self.call_state = "EARLY"
        self._tell("media")

    def answer(self):
        """200, in either direction. Who calls it for a leg with a dialplan goes on with `armed`."""
        if self.answered:
            return
        self.call.settle()
        self.answered, self.answer_state = True, "answered"
        self._hear_from_phone()
        self.negotiate()
        if self.twin is not None and self.direction == "inbound":
            self.twin.answer()
        self.stamp("Channel-Answered")
        # Built before execute_on_answer runs (switch_channel.c): what is in this event is in time, all else too late.
        self.publish("CHANNEL_ANSWER")
        self._arming.take()
        self.variables["endpoint_disposition"] = "ANSWER"
        self.call_state = "ACTIVE"
        if self._arming.sticks:
            return
        if self.direction == "outbound":
            self._arming.start()
        self._tell("answers")

    def armed(self):
        """Executes what was armed for its answer; for its process."""
        return self._arming.run()

    def enrol(self):
        """The `user` endpoint is done with its only target: CHANNEL_OUTGOING again, and the directory's variables."""
        self.publish("CHANNEL_OUTGOING", variables=False)
        self.variables |= {**sip.directory(self.phone), "originate_endpoint": "user"}

    # With whom it speaks

    def join(self, other: "Leg"):
        self.partner, self.playing_hz = other, None
        self.other = (self.other[0] if self.other else "originatee", other.profile.copied())
        self.stamp("Channel-Bridged")
        self.variables["signal_bond"] = other.uuid
        self._arming.bridge()
        if self.originator is not None and self.process is None:
            self.state = ("CS_EXCHANGE_MEDIA", 5)

    def turn_around(self):
        """A called leg becomes one that calls: it walks through the dialplan, and what it showed is turned round."""
        self.profile = self.profile.inverted()
        self.variables["call_uuid"] = self.uuid
        self.state, self.hits_dialplan = ("CS_EXECUTE", 4), True

    def part(self):
        self.call.settle()
        self.partner = self.playing_hz = None
        self.variables.pop("bridge_to", None)

    # What it does

    def press(self, digits: str):
        """DTMF: to who waits for digits, or dropped where an application takes them as they come. With diverted
        events only the program that controls the leg hears of it."""
        for digit in digits:
            pressed = {"DTMF-Digit": digit, "DTMF-Duration": "1440", "DTMF-Source": "RTP"}
            if self.link is not None and self.link.diverts:
                self.link.offer({**self.switch.core_headers("DTMF"), **channel_headers(self, False), **pressed}, {})
            else:
                self.publish("DTMF", after=pressed, variables=False)
            if not self.eats_digits:
                self.digits.put(digit)

    def transfer(self, data: str):
        """To `<number> [XML [<context>]]`. A leg that a program controls leaves it, and so does one whose new goal is
        an extension; any other finds its further way in its own dialplan."""
        number, _, context = [*data.split(), "XML", self.profile.context][:3]
        redirect(self, number, context)
        if self.parking is not None or number in self.switch.extensions:
            self.handed_on = lines_to(self.switch, number, context, self.phone.variables)
        if self.parking is not None:
            self.process.reset()
            self.parking.put("transferred")

    # How it goes

    def hangup(self, cause="NORMAL_CLEARING"):
        if self.cause:
            return
        self.call.settle()
        self.cause, self.answer_state, self.state = cause, "hangup", (self.state[0], 10)
        self.publish("CHANNEL_HANGUP")
        if self.process is not None:
            self.process.interrupt()
        else:
            self.orders.hang_up()
            self.finish()
        if self.twin is not None:
            self.twin.hangup()
        self._tell("gone")

    def miscarry(self, cause):
        """It is hung up before it is created."""
        self.variables.pop("sofia_profile_name")
        self.cause, self.answer_state, self.state = cause, "hangup", (self.state[0], 10)
        self.publish("CHANNEL_HANGUP", variables=False)
        self.create()
        self.finish()
        self._tell("gone")

    def vanish(self):
        """The switch was killed: no event, nothing goes on."""
        self.cause, self._is_finished = "SYSTEM_SHUTDOWN", False
        self.displaced.clear()
        if self.process is not None:
            self.process.drop()
        self._arming.drop()
        self.call.leave(self)

    def rise(self):
        """It is recovered after `vanish`: its CHANNEL_CREATE is that of a leg that is answered."""
        self.cause, self.partner, self.playing_hz, self.is_lone_user = "", None, None, False
        self.process, self._arming = None, Arming(self)
        self.news, self.digits, self.created = Mailbox(), Mailbox(), self.clock.now
        self.orders, self.link, self.member, self.parking, self.is_decoded = Orders(self), None, None, None, False
        self.profile.times |= {"Channel-Created": self.clock.epoch_us(), "Channel-Bridged": 0}
        self.variables["recovered"] = "true"
        self.state, self.answer_state = ("CS_INIT", 2), "answered"
        self.call.enter_again(self)
        self.publish("CHANNEL_CREATE")
        self.state = ("CS_EXCHANGE_MEDIA" if self.originator else "CS_SOFT_EXECUTE", 5)

    def stop_recordings(self, cause) -> bool:
        """All of them: every file is closed before a bug is taken off. Whether there was one."""
        going = tuple(self.recordings)
        for recording in going:
            recording.stop(cause)
        for recording in reversed(going):
            recording.detach()
        return bool(going)

    def finish(self):
        """Nothing of it goes on: its recordings end, and the switch forgets it when no program controls it any more."""
        self.state = ("CS_HANGUP", 10)
        self.publish("CHANNEL_STATE", variables=False)
        self.stamp("Channel-Hangup")
        self.variables.pop("bridge_to", None)
        self._arming.drop()
        for each in tuple(self.displaced.values()):
            each.end()
        self.stop_recordings("success-silence")
        self.variables |= accounts(self)
        self.state, self.call_state = ("CS_REPORTING", 11), "HANGUP"
        self.publish("CHANNEL_STATE", variables=False)
        self.publish("CHANNEL_HANGUP_COMPLETE", before={"Hangup-Cause": self.cause})
        self._is_finished = True
        if self.link is not None:
            self.link.leg_is_gone()
        else:
            self.depart()

    def depart(self):
        """CHANNEL_DESTROY, of a leg that is finished."""
        if not self._is_finished or self.state[1] == 12:
            return
        self.state = ("CS_REPORTING", 12)
        if "last_bridge_to" in self.variables:
            self.variables["call_uuid"] = self.uuid
        self.publish("CHANNEL_DESTROY")
        self.call.leave(self)

    def _hear_from_phone(self):
        if self.direction == "outbound" and self.twin is None:
            self.variables |= sip.replied(self)

    def _tell(self, what):
        if self.news_to is not None and not self.news_to.cause:
            self.news_to.news.put((what, self))
