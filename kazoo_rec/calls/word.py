"""What the switch is told of one recording that runs, a leg's or a room's, and whether it can have had an effect."""

from kazoo_rec.calls.room import Room
from kazoo_rec.errors import CommandFailed, WrongState
from kazoo_rec.switch import commands, replies

#: Seconds within which the switch has to say yes to who waits for it; it takes milliseconds.
YES_WITHIN_S = 2.0


class Word:
    """The switch says yes as well about a recording that a transfer has taken away from its leg, or that has just
    ended: it then sets a mark on what is not there (switch_ivr_async.c, switch_ivr_record_session_mask: the leg keeps
    `private[<file>]`). So it is asked, behind its yes, whether the leg is still recorded to that file.

    Parameters:
      send: `send(command, timeout_s) -> reply`, raising CommandFailed for -ERR.
      files: `calls.files.Files`.
    """

    def __init__(self, send, files):
        self._send, self._files = send, files

    def order(self, one, of_leg, of_room=None):
        """As `tell`, of what changes a recording that goes on. Raises WrongState also where it does not."""
        self.tell(one, of_leg, of_room)
        if not isinstance(one.leg, Room):
            listed = self._listed(one) if one.running else ()
            gone = [path for path in one.running if self._files.on_switch(path) not in listed]
            if gone and not one.ended.is_set():
                raise WrongState("the switch does not record it here any more")
        if one.ended.is_set():
            raise WrongState("the recording has ended", one.reason or "")

    def tell(self, one, of_leg, of_room=None):
        """`of_leg(uuid, path)` or `of_room(name, path)` of every file that is being written, should it be two.

        Raises WrongState where the switch refuses, CommandTimeout or NotConnected where it is not known what it did.
        """
        command, key = (of_room, one.leg.name) if isinstance(one.leg, Room) else (of_leg, one.leg.uuid)
        for path in list(one.running):
            try:
                replies.check_lines(self._send(command(key, self._files.on_switch(path)), YES_WITHIN_S))
            except CommandFailed as refused:
                if path in one.running and not one.ended.is_set():
                    raise WrongState("the switch refused", refused.reply.strip()) from refused

    def _listed(self, one):
        try:
            return replies.recorded(self._send(commands.buglist(one.leg.uuid), YES_WITHIN_S))
        except CommandFailed:  # there is no such leg
            return ()
