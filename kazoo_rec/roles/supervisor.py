"""Starts the roles, each a process of its own, and starts again what dies.

A child holds the reading end of a pipe whose writing end only the supervisor has: when the supervisor is gone,
however it went, the pipe ends and the child stops by itself.
"""

import os
import subprocess
import sys
import time

import gevent
import structlog
from gevent.event import Event

from kazoo_rec.config import Config
from kazoo_rec.documents import files
from kazoo_rec.documents.schema import worded
from kazoo_rec.errors import AlreadyActs, DocumentError
from kazoo_rec.store import Store
from kazoo_rec.store.migrations import migrate
from kazoo_rec.threads import Threads

#: Order of starting; of stopping, reversed, so that nothing is left to do for who stops next.
ROLES = ("engine", "delivery", "api")

#: Seconds before a role that died is started again: doubled each time, back to the first when it has lived this long.
#: Never many: calls that begin and end without an engine are not recorded.
RESTART_FIRST_S, RESTART_LAST_S, LIVED_S = 0.5, 4.0, 60.0

#: Seconds that a role may take to stop before it is killed. Whatever it had in hand is still in the store.
STOP_WITHIN_S = 15.0

log = structlog.get_logger()


class Supervisor:
    """Parameters: `argv_of(role)` is the command line of a role, `roles` those to run on this host; `ended()` is called
    where a role cannot run beside what runs already, and nothing is left but to `stop`; `fault` says why."""

    def __init__(self, config: Config, argv_of, roles=ROLES, ended=lambda: None):
        self._config, self._argv_of, self._ended = config, argv_of, ended
        self.fault: AlreadyActs | None = None
        self._roles = [role for role in ROLES if role in roles]
        self._children: dict[str, subprocess.Popen] = {}
        self._stopping = Event()
        self._greenlets: dict = {}
        self._alive, self._lifeline = os.pipe()

    def start(self):
        """Brings the database up to date, takes in the documents, starts the roles.

        Raises StoreError, and DocumentError where the documents are faulty and the store has no earlier ones.
        """
        Threads(1).apply(migrate, (self._config.database,))
        self.take_documents(at_start=True)
        for role in self._roles:
            self._greenlets[role] = gevent.spawn(self._keep_running, role)

    def wait(self):
        """Until `stop` is called."""
        self._stopping.wait()

    def stop(self):
        """Ends the roles in their order; one that does not stop in time is killed."""
        self._stopping.set()
        for role in reversed(self._roles):
            child = self._children.get(role)
            if child is not None and child.poll() is None:
                child.terminate()
                try:
                    child.wait(STOP_WITHIN_S)
                except subprocess.TimeoutExpired:
                    log.error("a role did not stop in time and is killed", killed=role, pid=child.pid)
                    child.kill()
                    child.wait()
            if role in self._greenlets:
                self._greenlets[role].join()
        os.close(self._lifeline)
        os.close(self._alive)

    def take_documents(self, at_start: bool = False):
        """Reads the directory of documents into the store; one with faults changes nothing."""
        if self._config.documents is None:
            return
        store = Store(self._config.database)
        try:
            rows = files.read(self._config.documents)
            changed, removed = store.documents.take_files(rows, files.fit).get()
            log.info("documents taken in", documents=len(rows), changed=changed, removed=removed)
        except DocumentError as faulty:
            if at_start and not store.documents.since(0):
                raise
            for fault in faulty.faults:
                log.error("documents not taken in: those of before stay in force", fault=worded(fault))
        finally:
            store.close()

    def _keep_running(self, role):
        restart_s = RESTART_FIRST_S
        while not self._stopping.is_set():
            begun = time.monotonic()
            code = self._run(role)
            if self._stopping.is_set():
                return
            if code == AlreadyActs.exit_code:
                self.fault = AlreadyActs("another one runs already", role, "its own last words say which")
                self._ended()
                return
            if time.monotonic() - begun > LIVED_S:
                restart_s = RESTART_FIRST_S
            log.error("a role ended and is started again", ended=role, code=code, restart_s=restart_s)
            self._stopping.wait(restart_s)
            restart_s = min(restart_s * 2, RESTART_LAST_S)

    def _run(self, role):
        try:
            child = subprocess.Popen([*self._argv_of(role), "--lifeline", str(self._alive)],
                                     pass_fds=(self._alive,), start_new_session=True, stdin=subprocess.DEVNULL)
        except OSError as refused:  # no memory or no process to be had: that passes
            return str(refused)
        self._children[role] = child
        if self._stopping.is_set():  # while Popen waited for the child to begin, `stop` found none to end
            child.terminate()
        log.info("role started", started=role, pid=child.pid)
        return child.wait()


def argv_of(config_file: str, observe: bool, verbose: bool):
    """The command lines of this program's own roles."""
    flags = [*(["--observe"] if observe else []), *(["--verbose"] if verbose else [])]
    return lambda role: [sys.executable, "-P", "-m", "kazoo_rec", "role", role, "--config", config_file, *flags]
