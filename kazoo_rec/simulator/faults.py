"""What goes wrong on the switch's side, one sentence each in a script's `faults`.

    no media for 1001                the leg of that user has no media: bypassed, or the codec failed
    switch killed at 1.5             as by kill -9: sockets end, calls vanish, files stay as they are on disk
    switch shut down at 1.5          as by SIGTERM: SHUTDOWN, hang-ups, and a disconnect notice 1.2 s later
    commands stall from 0.5 to 2.0   nothing is executed in that time; what was sent waits

Times are seconds after the call began.
"""

import re

from kazoo_rec.errors import ConfigError

_NO_MEDIA = re.compile(r"no media for (\S+)")
_AT = re.compile(r"switch (killed|shut down) at ([\d.]+)")
_STALL = re.compile(r"commands stall from ([\d.]+) to ([\d.]+)")


def strike(fault: str, switch):
    """Prepares one fault. Raises ConfigError for a sentence that is none of those above."""
    if found := _AT.fullmatch(fault):
        switch.clock.after(float(found[2]), switch.kill if found[1] == "killed" else switch.shut_down)
    elif found := _STALL.fullmatch(fault):
        switch.clock.after(float(found[1]), switch.stall)
        switch.clock.after(float(found[2]), switch.go_on)
    elif not _NO_MEDIA.fullmatch(fault):
        raise ConfigError("no such fault", fault, "the sentences are in kazoo_rec/simulator/faults.py")


def without_media(fault: str, phone) -> bool:
    found = _NO_MEDIA.fullmatch(fault)
    return found is not None and found[1] in (phone.user, phone.address)
