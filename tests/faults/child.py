"""A process that the harness started: it is killed with its parent, and by nobody else's name."""

import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from gevent.lock import RLock

ROOT = Path(__file__).parents[2]

_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None)


def _with_the_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Child:
    """`python -m MODULE ARGUMENTS…`; what it says on stderr is added to `log`.

    One of the harness's own takes orders (`orders.serve`): `ask` gives its answer.
    """

    def __init__(self, log: Path, module: str, *arguments, orders=False, env=None):
        self._turn = RLock()
        pipe = subprocess.PIPE if orders else subprocess.DEVNULL
        with open(log, "ab") as written:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *map(str, arguments)], cwd=ROOT, start_new_session=True,
                stdin=pipe, stdout=subprocess.PIPE if orders else written, stderr=written,
                env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}, preexec_fn=_with_the_parent)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, do: str, **arguments):
        with self._turn:
            self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            raise BrokenPipeError(f"{self._process.args} ended with {self._process.wait()}")
        return json.loads(line)

    def wait(self, timeout_s: float) -> int:
        """How it ended. Raises subprocess.TimeoutExpired."""
        return self._process.wait(timeout_s)

    def kill(self):
        """SIGKILL, and it is gone. Children of its own are not."""
        self._process.kill()
        self._gone()

    def stop(self, within_s: float = 30):
        self._process.terminate()
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._gone()

    def children(self) -> dict[str, int]:
        """{role: pid} of the roles that it has started."""
        found = {}
        for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            if "role" in words:
                found[words[words.index("role") + 1]] = int(pid)
        return found

    def _gone(self):
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
