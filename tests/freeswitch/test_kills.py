"""Engine, delivery and supervisor killed at random moments, while sipp calls through a real FreeSWITCH.

The switch's own CHANNEL_HANGUP_COMPLETE says how long each leg talked; what the product says of it has to agree:
nothing is called whole that is not, nothing is left open, every body came once, and of what talked while an engine
was there, something is there. `KAZOO_REC_SEED` plays the kills of a run again.
"""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections import defaultdict
from pathlib import Path

import gevent
import greenswitch
import numpy as np
import pytest

from tests.freeswitch.product import FINAL, until

CALLS_A_SECOND, TALK_S = 8, 6

KILLS, BETWEEN_S = int(os.environ.get("KAZOO_REC_KILLS", "6")), (2.0, 6.0)

SCENARIOS = Path(__file__).parents[2] / "bench" / "sipp"
CALLEE_PORT, CALLER_PORT = 6111, 6112

#: What a recording may be shorter than its talk and be called whole: 1 % or 200 ms, a packet on either end, and what
#: the switch needs to begin (40 ms at its 99th percentile under such a load).
WHOLE_MS = 260

#: One file alone may be longer by this share of its talk: sipp, where others keep the host busy, sends what it is late
#: with at once, and the switch writes all of it (6.42 s of 6.06 were seen, begun and stopped by one engine).
BURST = 0.1

#: An engine that comes back knows the switch's legs after this; a shorter talk it may never have heard of.
TAKEN_IN_S = 3.0

pytestmark = pytest.mark.skipif(shutil.which("sipp") is None, reason="there is no sipp (Debian: sip-tester)")


class Truth:
    """How long each leg talked, by the switch: {leg: (from, to)} in seconds since the epoch."""

    def __init__(self, switch):
        self.talks = {}
        self._connection = greenswitch.InboundESL(switch.host, switch.port, switch.password)
        self._connection.connect()
        self._connection.register_handle("CHANNEL_HANGUP_COMPLETE", self._ended)
        self._connection.send("event plain CHANNEL_HANGUP_COMPLETE")

    def _ended(self, event):
        answered, ended = (int(event.headers[f"Caller-Channel-{what}-Time"]) for what in ("Answered", "Hangup"))
        if answered:
            self.talks[event.headers["Unique-ID"]] = answered / 1e6, ended / 1e6

    def stop(self):
        self._connection.stop()


@pytest.fixture
def truth(switch):
    truth = Truth(switch)
    yield truth
    truth.stop()


def sipp(directory, scenario, port, *more):
    return subprocess.Popen(
        [str(word) for word in ("sipp", "-sf", directory / f"{scenario}.xml", "-i", "127.0.0.1", "-mi", "127.0.0.1",
                                "-p", port, "-nostdin", *more)],
        cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture
def traffic(tmp_path, bob):
    """`traffic(seconds)` begins to call; ended with the test. sipp takes calls as Bob meanwhile."""
    (tmp_path / "tone.ulaw").write_bytes(np.random.default_rng(1).integers(0, 256, 80_000, np.uint8).tobytes())
    for name in ("callee", "caller", "register"):
        text = (SCENARIOS / f"{name}.xml").read_text()
        (tmp_path / f"{name}.xml").write_text(text.replace('<pause milliseconds="1000"/>',
                                                           f'<pause milliseconds="{TALK_S * 1000}"/>'))
    children = []

    def begin(seconds):
        registering = sipp(tmp_path, "register", CALLER_PORT, "127.0.0.1:5060", "-m", 1, "-key", "callee_port",
                           CALLEE_PORT)
        until(lambda: registering.poll() is not None, within_s=20)
        children.append(sipp(tmp_path, "callee", CALLEE_PORT))
        children.append(sipp(tmp_path, "caller", CALLER_PORT, "127.0.0.1:5080", "-s", "15550004001",
                             "-m", CALLS_A_SECOND * seconds, "-r", CALLS_A_SECOND))
        return children[-1]

    yield begin
    for child in children:
        child.terminate()
        child.wait()
    bob.register()


def processes(supervisor):
    """{"engine": pid, "delivery": pid} of those that it runs now."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    found = {}
    for pid in children:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        found |= {role: int(pid) for role in ("engine", "delivery") if role in words}
    return found


def account(lab, talks, rows, away):
    of_leg, told = defaultdict(list), defaultdict(int)
    for row in rows:
        of_leg[row["call_id"]].append(row)
        bodies = lab.receiver.bodies.get(row["id"], [])
        assert {hashlib.sha256(body).hexdigest() for body in bodies} <= {row["sha256"]}, row
        assert bool(bodies) == (row["state"] == "recorded"), row
        if row["state"] != "recorded":
            assert row["state_reason"], row
        if row["call_id"] not in talks:
            assert row["state"] == "discarded", row
    on_disk = {path.name.partition(".")[0] for path in lab.recordings_dir.rglob("*.wav")}
    assert on_disk <= {row["id"] for row in lab.rows_ever()}, "files without a row"
    for leg, (begun, ended) in talks.items():
        kept = [row for row in of_leg[leg] if row["state"] == "recorded"]
        lasted_ms = (ended - begun) * 1000
        recorded_ms = sum(row["duration_ms"] for row in kept)
        heard_s = ended - begun - sum(max(0, min(ended, until + TAKEN_IN_S) - max(begun, since))
                                      for since, until in away)
        more_ms = WHOLE_MS if len(kept) > 1 else BURST * lasted_ms
        assert recorded_ms <= lasted_ms + more_ms, (leg, lasted_ms, kept)
        if recorded_ms >= lasted_ms - WHOLE_MS:
            told["whole"] += 1
        elif of_leg[leg]:
            told["in part"] += 1
            assert any(row["partial"] or row["state_reason"] for row in of_leg[leg]), (leg, lasted_ms, of_leg[leg])
        else:
            told["never heard of"] += 1
            assert heard_s <= 0, (leg, begun, ended, away)
    print("legs", len(talks), dict(told), "kills while", [f"{until - since:.1f} s away" for since, until in away])  # noqa: T201


def test_kills_at_random_lose_nothing_and_tell_no_lies(lab, switch, phones, truth, traffic):
    seed = int(os.environ.get("KAZOO_REC_SEED") or random.SystemRandom().randrange(10**9))
    print(f"KAZOO_REC_SEED={seed}")  # noqa: T201
    choose = random.Random(seed)
    everything = {"any": {"any": lab.record(channels="mono")}}
    lab.obey({"acme/account": {"account": {"inbound": {"offnet": lab.record(channels="mono")}},
                               "endpoint": {"inbound": everything["any"]}}})
    calling, away = traffic(int(KILLS * sum(BETWEEN_S) / 2) + TALK_S), []
    for _ in range(KILLS):
        gevent.sleep(choose.uniform(*BETWEEN_S))
        whom = choose.choice(("engine", "engine", "delivery", "supervisor"))
        known = lab.log_size()
        killed_at = time.time()
        if whom == "supervisor":
            lab.halt(signal.SIGKILL)
            lab.run()
            away.append((killed_at, time.time()))
            continue
        found = until(lambda whom=whom: processes(lab.pid).get(whom), within_s=30)
        os.kill(found, signal.SIGKILL)
        if whom == "engine":
            lab.until_logged("switch connected", known)
            away.append((killed_at, time.time()))
    until(lambda: calling.poll() is not None, within_s=120)
    until(lambda: not switch.sessions, within_s=60)
    until(lambda: all(row["state"] in FINAL for row in lab.rows()), within_s=120)
    rows = lab.rows()
    until(lambda: all(row["id"] in lab.receiver.bodies for row in rows if row["state"] == "recorded"), within_s=60)
    account(lab, truth.talks, rows, away)
