"""Two engines for one real FreeSWITCH: the one that acts is killed while sipp calls, and the other takes over.

The switch itself tells how long each leg talked (tests/freeswitch/test_kills.py): nothing is recorded twice, nothing is
called whole that is not, and of what talked while an engine was there, something is there. `KAZOO_REC_SEED` has the
times of a run again, `KAZOO_REC_KILLS` more of them.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import gevent
import pytest
import yaml

from kazoo_rec.roles.acting import RETURN_S
from tests import database
from tests.freeswitch.product import BEGINS_WITHIN_S, FINAL, Product, until
from tests.freeswitch.test_kills import BETWEEN_S, KILLS, account, traffic, truth  # noqa: F401

#: Seconds until new calls are recorded again.
WITHIN_S = 5.0

#: Seconds after which nobody calls any more: an engine that was killed may need long to stand by on a busy machine.
MOST_S = 1200

pytestmark = [
    pytest.mark.skipif(shutil.which("sipp") is None, reason="there is no sipp (Debian: sip-tester)"),
    pytest.mark.skipif(not database.SERVER, reason="two engines for one switch want PostgreSQL")]


class Pair(Product):
    """And a second engine, with a supervisor and a directory of its own."""

    second = None

    def start(self):
        super().start()
        # Sooner, the second would leave the lock to the first, and that would take its own place.
        until(lambda: database.age_s(self._directory) > RETURN_S)
        said = yaml.safe_load((self._directory / "kazoo_rec.yaml").read_text())
        beside = self._directory / "second"
        beside.mkdir(mode=0o700)
        shutil.copy(self._directory / "kazoo_rec.key", beside)
        (beside / "kazoo_rec.yaml").write_text(yaml.safe_dump({**said, "state_dir": str(beside)}))
        self.second_log = beside / "log"
        with self.second_log.open("ab") as log:
            self.second = subprocess.Popen([sys.executable, "-m", "kazoo_rec", "run", "--role", "engine", "--config",
                                            str(beside / "kazoo_rec.yaml")], stderr=log)
        until(lambda: self.standing_by() == 1, BEGINS_WITHIN_S)

    def stop(self):
        if self.second is not None:
            self.second.terminate()
            until(lambda: self.second.poll() is not None, within_s=30)
        super().stop()

    def _told(self, line):
        return sum(log.read_text().count(line) for log in (self._log, self.second_log))

    def connected(self) -> int:
        """How often an engine has begun to hear the switch."""
        return self._told("switch connected")

    def standing_by(self) -> int:
        """How often an engine has begun to stand by."""
        return self._told("this engine stands by")

    def acting(self) -> int | None:
        """The process of the engine that acts."""
        return database.acting(self._directory)

    def recorded_since(self, since_ms: int) -> int | None:
        """ms from then to the first that an engine has planned since, and that the switch records."""
        begun = [row["started_ms"] for row in self._rows() if row["created_ms"] > since_ms and row["started_ms"]]
        return min(begun) - since_ms if begun else None


@pytest.fixture(scope="module")
def pair(switch, tmp_path_factory):
    product = Pair(tmp_path_factory.mktemp("pair"), switch)
    product.start()
    yield product
    product.stop()


def test_takeovers_lose_nothing_double_nothing_and_tell_no_lies(pair, switch, phones, truth, traffic):  # noqa: F811
    seed = int(os.environ.get("KAZOO_REC_SEED") or random.SystemRandom().randrange(10**9))
    print(f"KAZOO_REC_SEED={seed}")  # noqa: T201
    choose = random.Random(seed)
    everything = {"any": {"any": pair.record(channels="mono")}}
    pair.obey({"acme/account": {"account": {"inbound": {"offnet": pair.record(channels="mono")}},
                                "endpoint": {"inbound": everything["any"]}}})
    calling, away, took_ms = traffic(MOST_S), [], []
    for _ in range(KILLS):
        gevent.sleep(choose.uniform(*BETWEEN_S))
        killed, connected, stood = until(pair.acting), pair.connected(), pair.standing_by()
        begun = time.time()
        os.kill(killed, signal.SIGKILL)
        until(lambda killed=killed: pair.acting() not in (None, killed), within_s=30)
        until(lambda connected=connected: pair.connected() > connected, within_s=30)
        away.append((begun, time.time()))
        took_ms.append(until(lambda begun=begun: pair.recorded_since(int(begun * 1000)), within_s=30))
        until(lambda stood=stood: pair.standing_by() > stood, within_s=BEGINS_WITHIN_S)
    print("ms until a recording began that was planned after the kill:", took_ms)  # noqa: T201
    calling.send_signal(signal.SIGUSR1)  # sipp begins no more calls
    until(lambda: calling.poll() is not None, within_s=60)
    until(lambda: not switch.sessions, within_s=60)
    until(lambda: all(row["state"] in FINAL for row in pair.rows()), within_s=120)
    rows = pair.rows()
    until(lambda: all(row["id"] in pair.receiver.bodies for row in rows if row["state"] == "recorded"), within_s=60)
    account(pair, truth.talks, rows, away)
    assert max(took_ms) < WITHIN_S * 1000
