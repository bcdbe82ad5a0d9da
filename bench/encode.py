"""Seconds to make an MP3 of a call, and what a hub beside it feels of it: `python bench/encode.py`.

The peer is the `lame` program with our settings. Ours runs as in the delivery: on a gevent thread pool, at its nice
value. Then, on two threads as there, again and again, while the hub of another process sleeps 1 ms at a time and notes
how late it wakes: in the ordinary scheduling class, and in the one that the engine asks for.
"""

import json
import shutil
import statistics
import subprocess
import sys
import time
import wave
from pathlib import Path
from tempfile import TemporaryDirectory

import gevent
import numpy as np
from gevent.threadpool import ThreadPool

from kazoo_rec.media.encode import NARROW_KBPS, QUALITY, to_mp3
from kazoo_rec.media.wav import probe
from kazoo_rec.roles.delivery import THREADS
from kazoo_rec.roles.priority import behind_everybody, may_stand_with_the_switch, with_the_switch

GOAL = 1.0  #: times the speed of `lame`
LATE_MS = 2  #: p99 of the hub beside
ROUNDS = 5
MINUTES = 10
RATE_HZ = 8_000
WATCH_S = 5
NAP_S = 0.001


def write_call(path: Path):
    """Two people who take turns: a hum with overtones and noise, in syllables, over a line that is never silent."""
    dice = np.random.default_rng(7)
    at = np.arange(MINUTES * 60 * RATE_HZ) / RATE_HZ
    sides = []
    for pitch_hz, turn in ((120, 0), (210, 1)):
        phase = 2 * np.pi * pitch_hz * at + 3 * np.sin(2 * np.pi * 0.7 * at)
        hum = sum(np.sin(phase * overtone) / overtone for overtone in (1, 2, 3, 5, 8, 12))
        syllables = np.clip(np.sin(2 * np.pi * 3.7 * at), 0, 1) * ((at // 4).astype(int) % 2 == turn)
        sides.append(4_000 * syllables * (hum + dice.normal(0, 0.3, at.size)) + dice.normal(0, 20, at.size))
    samples = np.stack(sides, axis=1).clip(-32_768, 32_767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes(samples.tobytes())


def lame(wav: Path, target: Path) -> float:
    since = time.perf_counter()
    # Joint stereo is what LAME's library takes where nobody says, as we do not.
    subprocess.run(["lame", "--silent", "-b", str(2 * NARROW_KBPS), "-q", str(QUALITY), "-m", "j", wav, target],
                   check=True)
    return time.perf_counter() - since


def deliver(wav: Path, target: Path):
    """Encodes once for each line it is told, and says the seconds; after the word `on` until its input ends."""
    behind_everybody()
    pool = ThreadPool(THREADS)

    def encode(number=0):
        since = time.perf_counter()
        pool.apply(to_mp3, (probe(wav), target.with_suffix(f".{number}.mp3"), "dual", "both"))
        return time.perf_counter() - since

    def on_and_on(number):
        while True:
            encode(number)

    for line in sys.stdin:
        if line == "on\n":
            for number in range(THREADS // 2):
                gevent.spawn(on_and_on, number)
            ThreadPool(1).apply(sys.stdin.readline)
            return
        print(encode(), flush=True)


def hub(where: str):
    if where == "with the switch":
        with_the_switch()
    late_ms, end = [], time.perf_counter() + WATCH_S
    while (since := time.perf_counter()) < end:
        gevent.sleep(NAP_S)
        late_ms.append((time.perf_counter() - since - NAP_S) * 1000)
    late_ms.sort()
    p50, p99 = late_ms[len(late_ms) // 2], late_ms[len(late_ms) * 99 // 100]
    print(json.dumps({"p50": p50, "p99": p99, "most": late_ms[-1]}))


def watched(where: str) -> dict:
    done = subprocess.run([sys.executable, __file__, "hub", where], stdout=subprocess.PIPE, check=True)
    return {name: round(value, 2) for name, value in json.loads(done.stdout).items()}


def main() -> int:
    if shutil.which("lame") is None:
        print("NOT RUN: there is no `lame` program")
        return 2
    classes = {"ordinary": "SCHED_OTHER"}
    if may_stand_with_the_switch():
        classes["with the switch"] = "SCHED_RR 1"
    else:
        print("NOT RUN: a hub in SCHED_RR 1, which this user may not have")
    with TemporaryDirectory() as directory:
        wav, theirs, mine = (Path(directory) / name for name in ("call.wav", "lame.mp3", "ours.mp3"))
        write_call(wav)
        with subprocess.Popen([sys.executable, __file__, "deliver", wav, mine], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True, bufsize=1) as delivery:
            try:
                peer, ours = [], []
                for number in range(1, ROUNDS + 1):
                    peer.append(lame(wav, theirs))
                    delivery.stdin.write("once\n")
                    ours.append(float(delivery.stdout.readline()))
                    print(f"  {number}: lame {peer[-1]:.3f} s  kazoo_rec {ours[-1]:.3f} s", flush=True)
                sizes = mine.with_suffix(".0.mp3").stat().st_size, theirs.stat().st_size
                if abs(sizes[0] - sizes[1]) > sizes[1] / 100:
                    sys.exit(f"the two files are not alike: {sizes} bytes")
                alone = watched("ordinary")
                delivery.stdin.write("on\n")
                late = {name: watched(where) for where, name in classes.items()}
            finally:
                delivery.kill()
    print(f"late in ms, of naps of 1 ms: {alone} with nothing beside")
    for name, found in late.items():
        print(f"  {name}: {found} beside {THREADS // 2} encoders")
    value, of_peer = statistics.median(ours), statistics.median(peer)
    worst_ms = max(found["p99"] for found in late.values())
    ok = of_peer / value >= GOAL and worst_ms <= LATE_MS
    print(json.dumps({"bench": "encode", "value": round(value, 3), "peer": round(of_peer, 3),
                      "ratio": round(of_peer / value, 2), "goal": GOAL, "ok": ok, "hub_late_p99_ms": worst_ms,
                      "hub_goal_ms": LATE_MS, "hub": {"alone": alone, **late}}))
    return 0 if ok else 1


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            sys.exit(main())
        case ["deliver", wav, target]:
            deliver(Path(wav), Path(target))
        case ["hub", where]:
            hub(where)
