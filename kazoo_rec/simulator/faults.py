"""What goes wrong on the switch's side, one sentence each: in a script's `faults`, or through the door (door.py).

Of a call, in its script alone:

    no media for 1001                     the leg of that user has no media: the codec failed
    media bypasses the switch             as with bypass_media: to arm a leg of such a call harms it
    the answer of 1000 waits 0.4          for another application of execute_on_answer: the switch arms in turn

Of legs:

    media of 1000 leaves the switch at 1  as `uuid_media off`: no event tells, recordings get nothing more
    1001 transfers to 1002 at 1.5         blind, by REFER; recordings end with their leg unless its variables say more
    1001 transfers to 1002 at 1.5, recordings go along
    1001 transfers to 1002 at 3.9, attended   its partner speaks with whom 1001 has called in another call
    1001 transfers to 1002 at 3.9, attended, recordings go along
    files of 1000 are cut to 4096 bytes at 1   at their end, when RECORD_STOP has told of all of it

Of the switch:

    switch killed at 1.5                  as by kill -9: sockets end, calls vanish, files stay as they are on disk
    switch shut down at 1.5               as by SIGTERM: SHUTDOWN, hang-ups, and a disconnect notice 1.2 s later
    switch starts at 3                    after either, with a new Core-UUID, at the old address
    switch recovers its calls at 4        as `sofia recover` does: those that were answered when it was killed
    disk full at 1.5                      nothing more can be written, nothing new begins
    disk has room at 3                    again
    show channels lags 0.3                its database is so far behind the calls; 0.1 otherwise

Of its event sockets:

    commands stall from 0.5 to 2.0        nothing is executed in that time; what was sent waits
    event sockets hang from 0.5 to 2.0    besides, nothing is sent: who connects is not even asked for a password
    event sockets end at 0.5              every connection ends without a word; calls go on
    event sockets reset at 0.5            the same by RST
    event sockets go dead at 0.5          every connection stays and carries nothing any more; new ones do
    listening sockets end at 0.5          those that asked for events alone; and reset, and go dead
    commanding sockets end at 0.5         all others alone; and reset, and go dead
    event queues hold 100                 who is that far behind loses events, and after 500 the connection; 100000

Of its events and commands, of every one or, with `the next`, of one:

    RECORD_STOP is lost                   it reaches nobody
    the next RECORD_STOP is lost
    the next CHANNEL_ANSWER comes twice
    the next RECORD_START comes 0.5 late  behind others that were later
    the first start waits 0.5             `uuid_record … start`, once; other connections are not held up
    uuid_setvar_multi waits 0.5           before it is executed
    the next uuid_record mask answers 0.5 late   it is executed at once
    the next uuid_record stop fails       with -ERR, and nothing is done

Times are seconds after the call began, or after the sentence came through the door, or so many seconds. What concerns
the whole switch lasts as long as it does.
"""

import re

from kazoo_rec.errors import ConfigError
from kazoo_rec.simulator.meeting import transfer_attended
from kazoo_rec.simulator.recover import recover
from kazoo_rec.simulator.transfer import transfer

_WHO, _SECONDS, _NEXT = r"(\S+)", r"([\d.]+)", r"(the next )?"
_EVENT, _COMMAND = r"([A-Z_]+)", r"([a-z_]+(?: [a-z]+)?)"
_SOCKETS = r"(event|listening|commanding) sockets"


def strike(fault: str, call):
    """Prepares one fault of a script. Raises ConfigError for a sentence that is none of those above."""
    _find(fault, call, (*_OF_CALLS, *_OF_ALL))


def strike_all(fault: str, switch):
    """Prepares one fault of the switch and all its legs. Raises ConfigError."""
    _find(fault, _Everybody(switch), _OF_ALL)


class _Everybody:
    """All legs, as those of one call."""

    def __init__(self, switch):
        self.switch = switch

    @property
    def legs(self):
        return tuple(self.switch.legs.values())


def _find(fault, call, sentences):
    for sentence, do in sentences:
        if found := re.fullmatch(sentence, fault):
            do(call, *found.groups())
            return
    raise ConfigError("no such fault", fault, "the sentences are in kazoo_rec/simulator/faults.py")


# Of calls and legs

def _no_media(call, who):
    call.without_media.add(who)


def _bypass(call):
    call.bypasses_media = True


def _answer_waits(call, who, seconds):
    call.answers_wait[who] = float(seconds)


def _media_leaves(call, who, seconds):
    _later(call, seconds, lambda: [leg.lose_media() for leg in _legs(call, who)])


def _transfers(call, who, number, seconds, attended, along):
    def refer():
        for leg in _legs(call, who):
            if leg.partner is None or leg.cause:
                continue
            if not attended:
                leg.variables["transfer_disposition"] = "recv_replace"
                transfer(leg, number, bool(along))
            elif consulting := _consulting(leg, number):
                transfer_attended(leg, consulting, bool(along))
                return

    _later(call, seconds, refer)


def _consulting(leg, number):
    """The leg of the same phone that speaks with that number; None where the REFER names a call that is gone."""
    return next((other for other in leg.switch.legs.values()
                 if other is not leg and other.phone.address == leg.phone.address and other.partner is not None
                 and number in (other.partner.phone.user, other.partner.phone.address)), None)


def _cut_short(call, who, size, seconds):
    def cut():
        for leg in _legs(call, who):
            for recording in leg.recordings:
                recording.keeps_bytes = int(size)

    _later(call, seconds, cut)


def _legs(call, who):
    return [leg for leg in call.legs if who in (leg.phone.user, leg.phone.address)]


# Of the switch

def _at(what):
    """A sentence that names nothing but its time."""
    return lambda call, seconds: _later(call, seconds, lambda: what(call.switch))


def _hang(call, what, begins, ends):
    switch = call.switch
    _later(call, begins, switch.stall if what == "commands stall" else switch.hang)
    _later(call, ends, switch.go_on)


def _sockets(call, whose, how, seconds):
    _later(call, seconds, lambda: call.switch.cut(whose, how))


def _queues(call, count):
    call.switch.sockets.queue_limit = int(count)


def _lag(call, seconds):
    call.switch.database_lag_s = float(seconds)


def _lost(call, name):
    call.switch.lost_events.add(name)


def _event_comes(moments):
    """`moments(seconds)` are the seconds after which it comes."""
    return lambda call, once, name, *seconds: call.switch.event_mishaps.add(name, moments(*seconds), bool(once))


def _command(call, once, words, how, *seconds):
    wait = float(next(filter(None, seconds), 0))

    def obey(execute):
        if how == "fails":
            return "-ERR Operation failed\n"
        if how.startswith("answers"):
            reply = execute()
            call.switch.clock.sleep(wait)
            return reply
        call.switch.clock.sleep(wait)
        return execute()

    call.switch.command_mishaps.add(words, obey, bool(once))


def _first_start_waits(call, seconds):
    _command(call, True, "uuid_record start", "waits", seconds)


def _later(call, seconds, what):
    call.switch.clock.after(float(seconds), what)


_OF_CALLS = (
    (rf"no media for {_WHO}", _no_media),
    (r"media bypasses the switch", _bypass),
    (rf"the answer of {_WHO} waits {_SECONDS}", _answer_waits),
)
_OF_ALL = (
    (rf"media of {_WHO} leaves the switch at {_SECONDS}", _media_leaves),
    (rf"{_WHO} transfers to {_WHO} at {_SECONDS}(, attended)?(, recordings go along)?", _transfers),
    (rf"files of {_WHO} are cut to (\d+) bytes at {_SECONDS}", _cut_short),
    (rf"switch killed at {_SECONDS}", _at(lambda switch: switch.kill())),
    (rf"switch shut down at {_SECONDS}", _at(lambda switch: switch.shut_down())),
    (rf"switch starts at {_SECONDS}", _at(lambda switch: switch.start())),
    (rf"switch recovers its calls at {_SECONDS}", _at(recover)),
    (rf"disk full at {_SECONDS}", _at(lambda switch: switch.fill_disk(True))),
    (rf"disk has room at {_SECONDS}", _at(lambda switch: switch.fill_disk(False))),
    (rf"show channels lags {_SECONDS}", _lag),
    (rf"(commands stall|event sockets hang) from {_SECONDS} to {_SECONDS}", _hang),
    (rf"{_SOCKETS} (end|reset|go dead) at {_SECONDS}", _sockets),
    (r"event queues hold (\d+)", _queues),
    (rf"{_EVENT} is lost", _lost),
    (rf"(the next ){_EVENT} is lost", _event_comes(lambda: ())),
    (rf"{_NEXT}{_EVENT} comes twice", _event_comes(lambda: (0.0, 0.0))),
    (rf"{_NEXT}{_EVENT} comes {_SECONDS} late", _event_comes(lambda seconds: (float(seconds),))),
    (rf"the first start waits {_SECONDS}", _first_start_waits),
    (rf"{_NEXT}{_COMMAND} (fails|waits {_SECONDS}|answers {_SECONDS} late)", _command),
)
