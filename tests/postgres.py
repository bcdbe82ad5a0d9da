"""A PostgreSQL server of its own for the tests: `python -m tests.postgres COMMAND…` runs the command beside it, with
its URL in KAZOO_REC_TEST_DATABASE, and ends it. Without a PostgreSQL on this host it says so and runs nothing."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

#: Where Debian has the programs of each version, and others.
PLACES = (*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), Path("/usr/bin"), Path("/usr/local/bin"))

#: Seconds until it answers.
BEGUN_WITHIN_S = 30

#: What of a test's database is lost with the host's power does not matter.
SETTINGS = {"fsync": "off", "synchronous_commit": "on", "full_page_writes": "off", "max_connections": "200",
            "unix_socket_directories": "", "listen_addresses": "127.0.0.1"}


class Server:
    """On a port of 127.0.0.1; `url` has no database's name. `stop`, `kill`, `freeze` and `start` it at will."""

    def __init__(self, programs: Path, place: Path, settings=SETTINGS):
        self.place, self._programs, self._settings = place, programs, settings
        self._data, self._log = place / "data", place / "log"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.url = f"postgresql://kazoo_rec@127.0.0.1:{self._port}"
        self._process = None
        place.chmod(0o755)
        self._data.mkdir(mode=0o700)
        self.own(self._data)
        self._run("initdb", "--pgdata", self._data, "--username", "kazoo_rec", "--auth", "trust", "--encoding", "UTF8",
                  "--no-locale", "--no-sync").wait()

    def start(self):
        options = [f"-c{name}={value}" for name, value in {**self._settings, "port": self._port}.items()]
        self._process = self._run("postgres", "-D", self._data, *options)
        end = time.monotonic() + BEGUN_WITHIN_S
        while self._run("pg_isready", "--quiet", "--host", "127.0.0.1", "--port", str(self._port)).wait():
            if self._process.poll() is not None or time.monotonic() > end:
                sys.exit(f"PostgreSQL does not start: {self._log.read_text()[-2000:]}")
            time.sleep(0.1)

    def stop(self):
        """Its sessions end with it; nothing where it does not run."""
        if self.runs:
            self.thaw()
            self._process.send_signal(signal.SIGINT)
            self._process.wait()

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def kill(self):
        """SIGKILL, its sessions and all: it begins again from its log."""
        for pid in self._pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def freeze(self, *sessions: int):
        """These, or all of it, do nothing until `thaw`; connections stay, and new ones can be made to its port."""
        for pid in sessions or self._pids():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self):
        for pid in self._pids() if self.runs else ():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def own(self, directory: Path):
        """Gives it a directory."""
        if os.geteuid() == 0:
            os.chown(directory, *self._whose())

    def _pids(self):
        """The first of its processes, and those that this one has started."""
        first = self._process.pid
        return first, *map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split())

    def _run(self, program, *arguments):
        own = {"user": self._whose()[0], "group": self._whose()[1], "extra_groups": []} if os.geteuid() == 0 else {}
        with open(self._log, "ab") as log:
            return subprocess.Popen([self._programs / program, *arguments], stdout=log, stderr=log, cwd="/", **own)

    @staticmethod
    def _whose():
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            user = pwd.getpwnam("nobody")
        return user.pw_uid, user.pw_gid


@contextmanager
def started():
    """A server, or None where this host has no PostgreSQL."""
    programs = next((place for place in PLACES if (place / "initdb").exists()), None)
    if programs is None:
        yield None
        return
    place = Path(tempfile.mkdtemp(prefix="kazoo_rec_postgres_"))
    try:
        server = Server(programs, place)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(place)


def main(command) -> int:
    with started() as server:
        if server is None:
            print("no PostgreSQL on this host: what wants one is not run")  # noqa: T201
            return 0
        return subprocess.run(command, env={**os.environ, "KAZOO_REC_TEST_DATABASE": server.url},
                              check=False).returncode


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main(sys.argv[1:]))
