"""What goes wrong on the switch's side, one sentence each in a script's `faults`.

    no media for 1001                     the leg of that user has no media: the codec failed
    media bypasses the switch             as with bypass_media: to arm a leg of such a call harms it
    media of 1000 leaves the switch at 1  as `uuid_media off`: no event tells, recordings get nothing more
    switch killed at 1.5                  as by kill -9: sockets end, calls vanish, files stay as they are on disk
    switch shut down at 1.5               as by SIGTERM: SHUTDOWN, hang-ups, and a disconnect notice 1.2 s later
    event sockets end at 0.5              every connection ends without a word; calls go on
    disk full at 1.5                      nothing more can be written, nothing new begins
    commands stall from 0.5 to 2.0        nothing is executed in that time; what was sent waits
    the first start waits 0.5             `uuid_record … start`, once; other connections are not held up
    show channels lags 0.3                its database is so far behind the calls; 0.1 otherwise
    RECORD_STOP is lost                   events of that name reach nobody
    the answer of 1000 waits 0.4          for another application of execute_on_answer: the switch arms in turn
    1001 transfers to 1002 at 1.5         blind, by REFER; recordings end with their leg unless its variables say more
    1001 transfers to 1002 at 1.5, recordings go along

Times are seconds after the call began, or so many seconds. What concerns the whole switch lasts as long as it does.
"""

import re

from kazoo_rec.errors import ConfigError
from kazoo_rec.simulator.transfer import transfer

_WHO, _SECONDS = r"(\S+)", r"([\d.]+)"


def strike(fault: str, call):
    """Prepares one fault. Raises ConfigError for a sentence that is none of those above."""
    for sentence, do in _SENTENCES:
        if found := re.fullmatch(sentence, fault):
            do(call, *found.groups())
            return
    raise ConfigError("no such fault", fault, "the sentences are in kazoo_rec/simulator/faults.py")


def _no_media(call, who):
    call.without_media.add(who)


def _bypass(call):
    call.bypasses_media = True


def _media_leaves(call, who, seconds):
    _later(call, seconds, lambda: [leg.lose_media() for leg in _legs(call, who)])


def _killed(call, seconds):
    _later(call, seconds, call.switch.kill)


def _shut_down(call, seconds):
    _later(call, seconds, call.switch.shut_down)


def _sockets_end(call, seconds):
    _later(call, seconds, call.switch.cut)


def _disk_full(call, seconds):
    _later(call, seconds, call.switch.fill_disk)


def _stall(call, begins, ends):
    _later(call, begins, call.switch.stall)
    _later(call, ends, call.switch.go_on)


def _first_start_waits(call, seconds):
    call.switch.start_waits_s = float(seconds)


def _lag(call, seconds):
    call.switch.database_lag_s = float(seconds)


def _lost(call, name):
    call.switch.lost_events.add(name)


def _answer_waits(call, who, seconds):
    call.answers_wait[who] = float(seconds)


def _transfers(call, who, number, seconds, along):
    def refer():
        for leg in _legs(call, who):
            if leg.partner is not None and not leg.cause:
                leg.variables["transfer_disposition"] = "recv_replace"
                transfer(leg, number, bool(along))

    _later(call, seconds, refer)


def _later(call, seconds, what):
    call.switch.clock.after(float(seconds), what)


def _legs(call, who):
    return [leg for leg in call.legs if who in (leg.phone.user, leg.phone.address)]


_SENTENCES = (
    (rf"no media for {_WHO}", _no_media),
    (r"media bypasses the switch", _bypass),
    (rf"media of {_WHO} leaves the switch at {_SECONDS}", _media_leaves),
    (rf"switch killed at {_SECONDS}", _killed),
    (rf"switch shut down at {_SECONDS}", _shut_down),
    (rf"event sockets end at {_SECONDS}", _sockets_end),
    (rf"disk full at {_SECONDS}", _disk_full),
    (rf"commands stall from {_SECONDS} to {_SECONDS}", _stall),
    (rf"the first start waits {_SECONDS}", _first_start_waits),
    (rf"show channels lags {_SECONDS}", _lag),
    (r"([A-Z_]+) is lost", _lost),
    (rf"the answer of {_WHO} waits {_SECONDS}", _answer_waits),
    (rf"{_WHO} transfers to {_WHO} at {_SECONDS}(, recordings go along)?", _transfers),
)
