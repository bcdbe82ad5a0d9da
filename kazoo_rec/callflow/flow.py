"""One call on its way through a callflow: what its actions work with."""

from collections.abc import Callable, Mapping
from contextlib import suppress

from kazoo_rec.documents.directory import Directory
from kazoo_rec.errors import CommandRefused
from kazoo_rec.switch import commands
from kazoo_rec.switch.events import Event
from kazoo_rec.switch.session import Session

#: What an action answers, instead of a key, that it cannot do here: the dialplan does it.
LEAVE = object()


class Flow:
    """Of one leg.

    Parameters:
      session: connected.
      channel: what `session.connect` told.
      owner: `server.Owner`, of an account.
      directory: the documents as they were when the call came.
      document, captures: the callflow, and what its pattern captured of the number.
      say: `say(step)` for each step, for people.
      log: bound to the call.
    """

    def __init__(self, session: Session, channel: Event, owner, directory: Directory, document: Mapping,
                 captures: tuple[str, ...], say: Callable[[str], object], log):
        self.session, self.channel, self.directory = session, channel, directory
        self.account_id, self.control, self.rooms = owner
        self.document, self.captures, self.say, self.log = document, captures, say, log
        self.uuid = channel.uuid
        self.number = called_number(channel)
        #: Ids of the recordings that this flow began, the oldest first; path of the last message that it took.
        self.began: list[str] = []
        self.message: str | None = None
        #: Keys of the children of the action that is at work.
        self.children: frozenset[str] = frozenset()

    @property
    def who(self) -> str:
        """Of its orders."""
        return f"callflow {self.document.get('id', '')}".strip()

    def answer(self):
        if not self.session.answered:
            self.session.execute(*commands.answer())

    def have(self, variables: Mapping[str, str]):
        """Sets variables of the leg until `give_back`; what is executed next has them."""
        for name, value in variables.items():
            self.session.tell(*commands.variable(name, value))

    def give_back(self, names):
        """Gives variables the values that the dialplan had set."""
        for name in names:
            before = self.channel.variable(name)
            application = commands.forget(name)
            if before:
                with suppress(CommandRefused):  # a text that only a dialplan can set
                    application = commands.variable(name, before)
            self.session.tell(*application)


def called_number(channel: Event) -> str:
    return channel.get("Caller-Destination-Number")
