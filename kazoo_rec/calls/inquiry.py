"""What one look asks the switch about its legs. One leg that does not answer (its thread hangs) keeps nobody from
hearing of the others, and a switch that answers about none is not asked on and on."""

from collections.abc import Iterable, Iterator

import structlog
from gevent.pool import Pool
from gevent.util import wrap_errors

from kazoo_rec.errors import CommandFailed, CommandRefused, NotConnected, SwitchError
from kazoo_rec.switch import commands, replies
from kazoo_rec.switch.events import Event

#: Seconds for the answer about one leg.
ANSWER_WITHIN_S = 5.0

#: Legs that are asked about at once, and recordings that are started on them: other calls need the switch too.
LEGS_AT_ONCE = 4

#: Questions in a row without an answer, after which a look asks no more.
MOST_IN_VAIN = 8

log = structlog.get_logger()


class Inquiry:
    """One look. What ends the connection raises NotConnected, everything else is an answer.

    Parameters:
      send: `send(command, timeout_s)` asks the switch.
      files: `calls.files.Files`.
      vain: {uuid: how often it was asked about in vain}, kept from look to look: changed here.
    """

    def __init__(self, send, files, vain: dict[str, int]):
        self._send, self._files, self._vain = send, files, vain
        self._in_a_row = 0

    def legs(self, uuids: Iterable[str]) -> Iterator[tuple[Event | None, frozenset] | None]:
        """Of each in turn (its dump, paths of ours that are being recorded on it); (None, nothing) where it has ended,
        None where that is not known."""
        ask = wrap_errors(SwitchError, self._leg)  # what a greenlet raises is printed besides
        for answer in Pool(LEGS_AT_ONCE).imap(ask, uuids, maxsize=LEGS_AT_ONCE):
            if isinstance(answer, SwitchError):
                raise answer
            yield answer

    def recorded(self, uuid: str) -> frozenset | None:
        """The paths of ours that are being recorded on a leg; none where there is no such leg, None where that is not
        known."""
        return self._ask(self._recorded, uuid, frozenset())

    def exists(self, uuid: str) -> bool:
        """Where that is not known, too."""
        return self._ask(self._exists, uuid, False) is not False

    def _leg(self, uuid):
        is_asked = self._in_a_row < MOST_IN_VAIN
        answer = self._ask(self._look, uuid, (None, frozenset()))
        if answer is None:
            self._vain[uuid] = self._vain.get(uuid, 0) + is_asked
        else:
            self._vain.pop(uuid, None)
        return answer

    def _ask(self, question, uuid, gone):
        if self._in_a_row >= MOST_IN_VAIN:
            return None
        try:
            answer = question(uuid)
        except (CommandFailed, CommandRefused):
            answer = gone
        except NotConnected:
            raise
        except SwitchError as unheard:
            self._in_a_row += 1
            log.warning("the switch does not tell of a leg", call_id=uuid, reason=str(unheard))
            return None
        self._in_a_row = 0
        return answer

    def _look(self, uuid):
        dump = replies.leg(self._send(commands.dump(uuid), ANSWER_WITHIN_S))
        return dump, self._recorded(uuid) | self._taken_down(dump)

    def _recorded(self, uuid):
        paths = map(self._files.relative, replies.recorded(self._send(commands.buglist(uuid), ANSWER_WITHIN_S)))
        return frozenset(path for path in paths if path)

    def _taken_down(self, dump):
        """What the application `record` writes, which is in no list: whether it still does is not told."""
        path = self._files.relative(dump.variable("current_application_data").partition(" ")[0])
        return {path} if path and dump.variable("current_application") == "record" else frozenset()

    def _exists(self, uuid):
        return replies.exists(self._send(commands.exists(uuid), ANSWER_WITHIN_S))
