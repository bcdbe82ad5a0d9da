"""What is uploaded: the bytes of a file, or a text, as far as the server has them."""

import hashlib
import os

import gevent

from kazoo_rec.errors import MediaError

#: Of a buffer, before what is read: a request's head of so many bytes goes with the beginning of its body, as each turn
#: of the kernel costs as much as 100 kB do. No server has to take a longer URL (RFC 9110, 4.1).
HEAD_BYTES = 8_192


class File:
    """A file on its way. `sent` counts what the socket has taken, below nothing while that is of the head alone,
    `withheld` what of it the server's host did not have when the server answered; `sha256` is of `sent` once it is all.

    Parameters:
      size_bytes, sha256: of the file when it was finished, or of its part.
      first: the part's first byte, where it is one.
      whole_bytes: of the file that it is a part of.
      pool: reads and hashes.
      buffer: a bytearray; behind HEAD_BYTES of it what is read at once has its place.
      opened: opens a path to be read and sought in.
    """

    def __init__(self, path, size_bytes, sha256, pool, buffer, opened, first=0, whole_bytes=None):
        self._opened, self._first = opened, first
        self._path, self._expected, self._pool, self._memory = path, sha256, pool, memoryview(buffer)
        self._buffer = self._memory[HEAD_BYTES:]
        self.size_bytes, self._whole_bytes = size_bytes, size_bytes if whole_bytes is None else whole_bytes
        self._file, self._ready, self._hash = None, self._buffer[:0], hashlib.sha256()
        self.sent = self.withheld = 0

    def close(self):
        """Of what was broken off; what is read to its end is closed. Waits for nothing: of a file that a disk keeps
        reading a close waits as long, and would on the hub; and the pool's other threads may be as busy."""
        if self._file is not None and not self._file.closed:
            gevent.spawn(self._pool.spawn, self._file.close)

    @property
    def complete(self):
        return self.sent - self.withheld == self.size_bytes

    @property
    def sha256(self):
        return self._hash.hexdigest()

    @property
    def intact(self):
        return self.sha256 == self._expected

    def read(self):
        """Reads the next part, the first time with a look at the file. Raises MediaError where it cannot be read."""
        try:
            self._pool.apply(self._read)
        except OSError as error:
            raise MediaError("the file cannot be read", str(self._path)) from error

    def send(self, sock, head):
        """The head of the request first, which is not counted. Raises what the socket does, and as `read`."""
        if len(head) > HEAD_BYTES:
            sock.sendall(head)
        else:
            begin = HEAD_BYTES - len(head)
            self._memory[begin:HEAD_BYTES] = head
            self._ready, self.sent = self._memory[begin:HEAD_BYTES + len(self._ready)], -len(head)
        while True:
            while self._ready:
                count = sock.send(self._ready)
                self.sent += count
                self._ready = self._ready[count:]
            if self.complete:
                return
            self.read()

    def _read(self):
        if self._file is None:
            self._file = self._opened(self._path)
            found = self._file.seek(0, os.SEEK_END)
            if found != self._whole_bytes:
                raise OSError(f"the file has {found} bytes and had {self._whole_bytes} when it was finished")
            self._file.seek(self._first)
        count = self._file.readinto(self._buffer[:self.size_bytes - self.sent])
        if not count:
            raise OSError(f"the file ended after {self.sent} bytes")
        self._ready = self._buffer[:count]
        self._hash.update(self._ready)
        if self.sent + count == self.size_bytes:
            self._file.close()


class Text:
    """As `File`, of what is in memory."""

    intact = True

    def __init__(self, content):
        self._content, self.size_bytes = content, len(content)
        self.sent = self.withheld = 0

    @property
    def complete(self):
        return self.sent - self.withheld == self.size_bytes

    @property
    def sha256(self):
        return hashlib.sha256(self._content).hexdigest()

    def close(self):
        pass

    def read(self):
        pass

    def send(self, sock, head):
        sock.sendall(head + self._content)
        self.sent = self.size_bytes
