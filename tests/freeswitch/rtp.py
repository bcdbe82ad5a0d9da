"""RTP (RFC 3550) with PCMU: one side of a conversation, which says a tone of its own, and its keys (RFC 4733)."""

import struct
import time
from itertools import count

import gevent
import numpy as np
from gevent import socket
from gevent.event import Event

RATE_HZ = 8000
PACKET_MS = 20
PACKET_SAMPLES = RATE_HZ * PACKET_MS // 1000

#: Payload type of keys, their codes, and for how long one is held, in samples.
KEY_TYPE, KEYS, KEY_SAMPLES = 101, "0123456789*#", 5 * PACKET_SAMPLES

#: asm-generic/socket.h: Python has no name for it.
SO_TIMESTAMPNS = 35

#: Below the ports of the switch (40000 to 59998) and those that the kernel gives away.
_PORTS = range(20000, 32000, 2)
_next_port = count()


def pcmu(samples: np.ndarray) -> bytes:
    """Linear 16-bit samples in μ-law (G.711)."""
    magnitude = np.minimum(np.abs(samples.astype(np.int32)), 32635) + 132
    exponent = np.log2(magnitude).astype(np.int32) - 7
    mantissa = magnitude >> (exponent + 3) & 15
    return (~((samples < 0) << 7 | exponent << 4 | mantissa) & 255).astype(np.uint8).tobytes()


def linear(coded: bytes) -> np.ndarray:
    """The samples of μ-law (G.711)."""
    inverted = ~np.frombuffer(coded, np.uint8).astype(np.int32) & 255
    magnitude = (((inverted & 15) << 3) + 132 << (inverted >> 4 & 7)) - 132
    return np.where(inverted & 128, -magnitude, magnitude).astype(np.int16)


def tone(hz: int) -> bytes:
    """One second of a whole number of waves: it can be repeated without a seam."""
    return pcmu((8000 * np.sin(2 * np.pi * hz * np.arange(RATE_HZ) / RATE_HZ)).astype(np.int16))


class Stream:
    """Says `tone_hz` from `start` on, every 20 ms, and counts what it hears; `kept`, where it is a list, gets it.
    `arrived_ms` are the times of what came, by the kernel: this process may be late."""

    def __init__(self, tone_hz: int):
        self._tone = tone(tone_hz)
        self._socket, self.port = _bound()
        self._heard, self._arrived, self._closed = 0, Event(), Event()
        self._said, self._spoke, self.arrived_ms = 0, Event(), []
        self._listening = gevent.spawn(self._listen)
        self.remote: tuple[str, int] | None = None
        self.silent, self.kept = False, None
        self._key: int | None = None

    def start(self, remote: tuple[str, int]):
        """Says to `remote` from now on; another call changes only where to."""
        speaking, self.remote = self.remote is not None, remote
        if not speaking:
            gevent.spawn(self._speak)

    def say(self, tone_hz: int):
        """Another tone from the next packet on."""
        self._tone = tone(tone_hz)

    def press(self, key: str):
        """Held from the next packet on, in the place of the tone."""
        self._key = KEYS.index(key)

    def hear(self, duration_ms: int):
        """Waits until this much more has been heard. Raises gevent.Timeout if it takes more than 5 s longer."""
        wanted = self._heard + duration_ms // PACKET_MS
        with gevent.Timeout(duration_ms / 1000 + 5):
            while self._heard < wanted:
                self._arrived.clear()
                self._arrived.wait()

    def speak(self, duration_ms: int):
        """Waits until this much more has been said. Raises gevent.Timeout if it takes more than 5 s longer."""
        wanted = self._said + duration_ms // PACKET_MS
        with gevent.Timeout(duration_ms / 1000 + 5):
            while self._said < wanted:
                self._spoke.clear()
                self._spoke.wait()

    def close(self):
        self._closed.set()
        self._listening.kill()
        self._socket.close()

    def _listen(self):
        while True:
            packet, ((_, _, stamp), *_), *_ = self._socket.recvmsg(2048, 64)
            if packet[1] & 127 == KEY_TYPE:
                continue
            seconds, nanoseconds = struct.unpack("@qq", stamp[:16])
            self.arrived_ms.append(seconds * 1000 + nanoseconds / 1_000_000)
            self._heard += 1
            if self.kept is not None:
                self.kept.append(packet[12:])
            self._arrived.set()

    def _speak(self):
        begun, pressed = time.monotonic(), None
        for number in count():
            timestamp = number * PACKET_SAMPLES
            if self._key is not None:
                marker, pressed = (0, pressed) if pressed is not None else (128, timestamp)
                held = timestamp + PACKET_SAMPLES - pressed
                self._send(number, pressed, marker | KEY_TYPE,
                           struct.pack("!BBH", self._key, 128 * (held >= KEY_SAMPLES) + 10, held))
                if held >= KEY_SAMPLES:
                    self._key = pressed = None
            elif not self.silent:
                at = timestamp % len(self._tone)
                self._send(number, timestamp, 0, self._tone[at:at + PACKET_SAMPLES])
                self._said += 1
                self._spoke.set()
            due = begun + (number + 1) * PACKET_MS / 1000
            if self._closed.wait(max(0, due - time.monotonic())):
                return

    def _send(self, number, timestamp, kind, payload):
        header = struct.pack("!BBHII", 0x80, kind, number & 0xFFFF, timestamp & 0xFFFFFFFF, self.port)
        self._socket.sendto(header + payload, self.remote)


def _bound():
    for _ in _PORTS:
        bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        bound.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        port = _PORTS[next(_next_port) % len(_PORTS)]
        try:
            bound.bind(("127.0.0.1", port))
        except OSError:
            bound.close()
        else:
            return bound, port
    raise OSError("no port is free for RTP")
