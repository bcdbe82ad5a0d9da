"""Which command goes first where more wait than the switch takes.

What is to be silent goes before everything: a second that a mask is late is a second that leaks, and no later command
takes it back; a start that is late loses what its row tells. There are few of them, so that they hold nobody up. An
arming goes before a start: it takes the switch 0.3 ms to a start's 11, and each that comes too late becomes a start
more. `uuid_buglist` goes with the starts: it is asked before one is made, and by sweeps four at a time. A stop that is
late records too much, which is cut, erased or kept by what the row says. Everything else keeps our books.
"""

import re
from collections.abc import Callable
from enum import IntEnum


class Urgency(IntEnum):
    """The lower, the sooner."""

    SILENCE = 0
    ARM = 1
    START = 2
    STOP = 3
    BOOKS = 4


class Perishable(str):
    """A command that is of use only as long as `wanted()`, and waits for its turn until then: who gave up and asked
    anew would be behind all others again, and an overload would never end."""

    wanted: Callable[[], bool]

    def __new__(cls, command: str, wanted: Callable[[], bool]):
        one = super().__new__(cls, command)
        one.wanted = wanted
        return one


_RECORD = re.compile(r"api (?:uuid_record \S+|conference \S+ recording) (\w+) ")

#: What the fourth word of an order about a recording makes it. The end of a silence is a start: it is heard again.
_ORDERS = {"mask": Urgency.SILENCE, "pause": Urgency.SILENCE, "start": Urgency.START, "unmask": Urgency.START,
           "resume": Urgency.START, "stop": Urgency.STOP}

#: What is played to a leg may be what its recording waits for; a leg whose guard is not called off in time is hung up.
_OTHERS = {"uuid_kill": Urgency.SILENCE, "uuid_buglist": Urgency.START, "uuid_broadcast": Urgency.START,
           "sched_del": Urgency.START}


def urgency(command: str) -> Urgency:
    """Of a command as `switch.commands` builds it."""
    if order := _RECORD.match(command):
        return _ORDERS.get(order[1], Urgency.BOOKS)
    name = command.removeprefix("api ").partition(" ")[0]
    if name == "uuid_setvar_multi":
        return Urgency.ARM if "=record_session " in command else Urgency.STOP
    return _OTHERS.get(name, Urgency.BOOKS)
