"""The application `socket`: the switch dials a program, which from then on says what the leg does (mod_event_socket.c).

`<host>:<port>[|<host>:<port>…] [async] [full]`. With `async` the leg is parked and executes what it is told while the
program goes on talking; without, each `sendmsg` is answered when it is done. Only with `full` are there commands beyond
the leg. When the program goes, the leg goes on behind `socket` in its dialplan.
"""

import gevent
from gevent import socket

from kazoo_rec.simulator.link import Link
from kazoo_rec.simulator.process import HungUp, Mailbox

_DEFAULT_PORT = 8084
#: The session's thread looks so often whether the program has said `connect`. One that is gone by then leaves the leg
#: parked for ever: nothing is there any more that could end it.
_LOOKS_S = 0.001


def dial(leg, data: str):
    """The application; for the leg's process."""
    hosts, *options = data.split() or [""]
    options = {option.lower() for option in options}
    sock = yield from _reach(leg, hosts)
    if sock is None:
        return
    link = leg.link = Link(leg, sock, "async" in options, "full" in options)
    leg.switch.sockets.serve(link)
    if link.is_async:
        yield from _park(leg, link)
    else:
        yield from _be_told(leg, link)


def _reach(leg, hosts):
    """A socket to the first of the hosts that answers, or None."""
    for each in hosts.split("|"):
        host, _, port = each.rpartition(":") if ":" in each else (each, "", "")
        leg.variables["socket_host"] = host
        found = Mailbox()
        dialling = gevent.spawn(_connect, host, int(port) if port.isdigit() else _DEFAULT_PORT, found)
        leg.clock.wait_for(dialling)
        try:
            sock = yield found
        except HungUp:
            dialling.kill(block=False)
            raise
        if sock is not None:
            return sock
    return None


def _connect(host, port, found):
    try:
        sock = socket.create_connection((host, port))
    except OSError:
        sock = None
    found.put(sock)


def _park(leg, link):
    yield link.began
    yield _LOOKS_S
    leg.publish("CHANNEL_PARK")
    leg.parking = Mailbox() if link.is_over else link.ended
    try:
        yield leg.parking
    finally:
        leg.parking = None
        leg.publish("CHANNEL_UNPARK")
    yield from leg.orders.all()


def _be_told(leg, link):
    try:
        while (told := (yield link.told)) is not None:
            message, done = told
            try:
                yield from leg.orders.obey(message)
            finally:
                done.set()
    finally:
        if leg.cause:
            link.leg_is_gone()
