"""The door of a simulator that runs as a process: what its owner writes to it, a line each, is done at once."""

import os

import orjson
from gevent.socket import wait_read

from kazoo_rec.errors import ConfigError
from kazoo_rec.simulator.faults import strike_all
from kazoo_rec.simulator.script import scripts_of


def serve(switch, file: int, say):
    """Obeys the lines of a pipe until its end; `file` is its number.

    A line is a sentence of faults.py, its times counted from now, of all legs that are up by then; or a JSON object as
    scripts_of takes it, whose calls begin, at `at` seconds from now. `say` is told, line by line, "+OK" or "-ERR" and
    why not.
    """
    rest = b""
    while data := _read(file):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            try:
                _obey(switch, line.decode("utf-8", "replace").strip())
            except ConfigError as error:
                say(f"-ERR {error.message}: {error.detail}")
            else:
                say("+OK")


def _obey(switch, line):
    if not line.startswith("{"):
        strike_all(line, switch)
        return
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ConfigError("these calls are no JSON", str(error)) from error
    for script in scripts_of(document):
        switch.play(script)


def _read(file) -> bytes:
    try:
        wait_read(file)
        return os.read(file, 65536)
    except OSError:
        return b""  # a terminal that belongs to another job by now
