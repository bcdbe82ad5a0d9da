"""A process of the harness that takes orders: a JSON line in, a JSON line out. It ends when nobody can order."""

import json
import sys

import gevent
from gevent.fileobject import FileObjectPosix


def serve(door):
    """Has `door` obey: {"do": name of a public method, …: its arguments}, answered by what it gives."""
    orders = FileObjectPosix(sys.stdin.fileno(), "rb")
    while line := orders.readline():
        order = json.loads(line)
        name = order.pop("do")
        if name.startswith("_"):
            raise ValueError(name)
        # One that waits holds up no other; answers come in the order of the orders all the same.
        answer = gevent.spawn(getattr(door, name), **order).get()
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
