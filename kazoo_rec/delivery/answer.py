"""What a server answers, read no further than is of use, however much it says."""

import fcntl
import io
import sys
import termios
from http.client import HTTPException, HTTPResponse

import gevent

#: Bytes of an answer's body that are read: enough to give the connection back for the next upload.
ANSWER_BYTES = 4_096

#: Bytes of an answer altogether: what goes before its head, which has at most 100 lines, its head, and how its body is
#: cut into chunks.
LARGEST_BYTES = 262_144


class Answer(HTTPResponse):
    """Of LARGEST_BYTES at most. http.client reads any number of `100 Continue` (RFC 9110, 15.2) and of lines behind the
    last chunk, and takes a chunk of -1 bytes for all that there is.

    Reading raises HTTPException where there is more.
    """

    def __init__(self, sock, *args, **kwargs):
        super().__init__(sock, *args, **kwargs)
        self._limited = _Limited(self.fp.detach())
        self.fp = io.BufferedReader(self._limited)

    def expect(self, count: int):
        """The answer may be longer by so many bytes."""
        self._limited.left += count

    def unacknowledged(self) -> int:
        """Bytes that the kernel has of us and the server's host has not said that it has. Whoever answers to all bytes
        has them, and says so with the answer: then there are none."""
        return int.from_bytes(fcntl.ioctl(self.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)


class _Limited(io.RawIOBase):
    """A socket's bytes. Others have a turn before each part: bytes that wait are read without one, and no
    gevent.Timeout comes in between."""

    def __init__(self, raw):
        super().__init__()
        self._raw, self.left = raw, LARGEST_BYTES

    def readable(self):
        return True

    def fileno(self):
        return self._raw.fileno()

    def close(self):
        self._raw.close()
        super().close()

    def readinto(self, buffer):
        if not self.left:
            raise HTTPException("the answer does not end")
        gevent.sleep(0)
        count = self._raw.readinto(memoryview(buffer)[:self.left])
        self.left -= count or 0
        return count
