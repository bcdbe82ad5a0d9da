"""Session threads without threads: generators that run on the switch's clock."""

from collections import deque
from functools import partial


class HungUp(Exception):
    """The leg whose application this is was hung up."""


class Mailbox:
    """What one process waits for, oldest first."""

    def __init__(self):
        self._items, self.taker = deque(), None

    def put(self, item):
        if self.taker is None:
            self._items.append(item)
        else:
            taker, self.taker = self.taker, None
            taker(item)

    def has(self) -> bool:
        return bool(self._items)

    def take(self):
        return self._items.popleft()


class Process:
    """Runs a generator. It yields seconds to pause for, a Mailbox to take from, or (mailbox, seconds): None is then
    what it gets when time runs out.

    `interrupt` raises HungUp in it where it waits, and does nothing while it runs: it has to look for itself whether
    its leg still lives.
    """

    def __init__(self, clock, steps):
        self._clock, self._steps, self._turn, self._mailbox, self._busy = clock, steps, 0, None, False

    def start(self):
        self._go(self._steps.send, None)

    def interrupt(self):
        if not self._busy and self._steps is not None:
            self._go(self._steps.throw, HungUp())

    def drop(self):
        """It is never resumed."""
        self._steps = None

    def _go(self, how, what):
        self._turn += 1
        if self._mailbox is not None:
            self._mailbox.taker = self._mailbox = None
        self._busy = True
        try:
            wait = how(what)
            while isinstance(mailbox := wait[0] if isinstance(wait, tuple) else wait, Mailbox) and mailbox.has():
                wait = self._steps.send(mailbox.take())
        except StopIteration:
            self._steps = None
            return
        finally:
            self._busy = False
        mailbox, seconds = wait if isinstance(wait, tuple) else (wait, None)
        resume = partial(self._resume, self._turn)
        if isinstance(mailbox, Mailbox):
            self._mailbox, mailbox.taker = mailbox, resume
        else:
            seconds = mailbox
        if seconds is not None:
            self._clock.after(seconds, resume)

    def _resume(self, turn, item=None):
        if turn == self._turn and self._steps is not None:
            self._go(self._steps.send, item)
