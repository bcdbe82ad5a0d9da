"""A FreeSWITCH that needs no FreeSWITCH: it speaks the event socket, plays scripted calls and writes real WAV files.

    with Simulator(clock=HandClock()) as switch:
        call = switch.play(Script(Phone("1000", "acme.example", hangs_up=2.6), (Phone("1001", "acme.example", answers=0.6),)))
        switch.clock.advance(3)
"""

from .clock import HandClock, WallClock
from .script import Phone, Script, read_scripts, scripts_of
from .simulator import Simulator

__all__ = ["HandClock", "Phone", "Script", "Simulator", "WallClock", "read_scripts", "scripts_of"]
