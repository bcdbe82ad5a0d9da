"""Session threads without threads: generators that run on the switch's clock."""

from collections import deque
from functools import partial


class HungUp(Exception):
    """The leg whose application this is was hung up."""


class Reset(HungUp):
    """The application ends as with a hang-up, and its leg goes on."""


class Diverted(HungUp):
    """The leg goes on elsewhere in the dialplan."""


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

    def give_back(self, item):
        """It was taken by who had no use for it."""
        self._items.appendleft(item)


class _Stack:
    """One generator of a process and what it waits for: a mailbox, a time of the clock, or both."""

    def __init__(self, steps):
        self.steps, self.mailbox, self.until = steps, None, None


class Process:
    """Runs a generator. It yields seconds to pause for, a Mailbox to take from, or (mailbox, seconds): None is then
    what it gets when time runs out.

    `interrupt` raises HungUp in it where it waits, and does nothing while it runs: it has to look for itself whether
    its leg still lives. `nest` runs another generator in its midst, as a session thread does with an application that
    it is told to execute while it executes one: the outer one waits on when the inner has ended, and is hung up after
    it.
    """

    def __init__(self, clock, steps):
        self._clock, self._stacks, self._turn, self._busy, self._fate = clock, [_Stack(steps)], 0, False, None

    @property
    def is_over(self) -> bool:
        return not self._stacks

    def start(self):
        self._go(self._stacks[-1].steps.send, None)

    def nest(self, steps):
        """Runs it now, if the process waits."""
        if self._stacks and not self._busy:
            self._stacks.append(_Stack(steps))
            self._go(steps.send, None)

    def interrupt(self):
        self._end(HungUp())

    def reset(self):
        """Ends what was nested; the first of its generators goes on."""
        if len(self._stacks) > 1:
            self._end(Reset())

    def divert(self):
        """Ends what it waits for, and all that this was nested in, as with a hang-up; the first of its generators goes
        on behind it."""
        self._end(Diverted())

    def drop(self):
        """It is never resumed."""
        self._stacks = []

    def _end(self, fate):
        if self._stacks:
            self._fate = fate
            if not self._busy:
                self._reach_bottom()
                self._go(self._stacks[-1].steps.throw, fate)

    def _reach_bottom(self):
        """The first of the generators outlives being diverted."""
        if len(self._stacks) == 1 and isinstance(self._fate, Diverted):
            self._fate = None

    def _go(self, how, what):
        self._turn += 1
        for stack in self._stacks:
            if stack.mailbox is not None:
                stack.mailbox.taker = None
        self._busy = True
        try:
            while (stack := self._step(how, what)) is not None and stack.mailbox is not None and stack.mailbox.has():
                how, what = stack.steps.send, stack.mailbox.take()
        finally:
            self._busy = False
        if stack is None:
            return
        resume = partial(self._resume, self._turn)
        if stack.mailbox is not None:
            stack.mailbox.taker = resume
        if stack.until is not None:
            self._clock.at(stack.until, resume)

    def _step(self, how, what):
        """The innermost generator that waits now; None where the last has ended."""
        while self._stacks:
            try:
                wait = how(what)
            except StopIteration:
                if self._stacks:  # not dropped by what it did
                    self._stacks.pop()
                if len(self._stacks) == 1 and isinstance(self._fate, Reset):
                    self._fate = None
                if not self._stacks or self._fate is None:
                    break
                how, what = self._stacks[-1].steps.throw, self._fate
                self._reach_bottom()
                continue
            if self._stacks:
                stack = self._stacks[-1]
                stack.mailbox, seconds = wait if isinstance(wait, tuple) else (
                    (wait, None) if isinstance(wait, Mailbox) else (None, wait))
                stack.until = None if seconds is None else self._clock.now + seconds
            break
        return self._stacks[-1] if self._stacks else None

    def _resume(self, turn, item=None):
        if turn == self._turn and self._stacks:
            self._go(self._stacks[-1].steps.send, item)
