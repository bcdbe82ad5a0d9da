"""`kazoo-rec receive`: a web server that takes recordings, to try things out with."""

import signal
import socket
from pathlib import Path

import click
import gevent
from gevent.event import Event

from kazoo_rec.delivery.receiver import Receiver
from kazoo_rec.errors import ConfigError


@click.command()
@click.option("--dir", "directory", required=True, type=click.Path(file_okay=False, path_type=Path),
              help="Where the files go; made if it is not there.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=9099, show_default=True, help="Port to listen on; 0 takes any free one.")
def receive(directory, host, port):
    """Receive recordings and check that they came whole.

    Each file is compared with the SHA-256 that was sent with it, stored once, and named in one line. A GET of / lists
    everything that is held. This server asks nobody for a password: it is for trying things out.

    \b
    Example:
      kazoo-rec receive --dir received
      # then, in an account's call_recording settings:  "url": "http://127.0.0.1:9099/"
      # and in the configuration:  delivery: {allow_networks: [127.0.0.0/8]}
    """
    try:
        listener = socket.create_server((host, port))
    except OSError as error:
        raise ConfigError("cannot listen", f"{host}:{port}: {error.strerror}", "choose another --port") from error
    receiver = Receiver(directory, listener, _tell)
    asked_to_end = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, asked_to_end.set)
    receiver.start()
    click.echo(f"Receiving at {receiver.url}/ into {directory}; Ctrl-C ends it.")
    asked_to_end.wait()
    receiver.stop()
    click.echo(f"Files held in {directory}: {len(receiver.files)}")


def _tell(received):
    digest = "digest verified" if received.verified else "no digest sent"
    click.echo(f"{received.file}  {received.bytes} bytes  {received.sha256}  {digest}")
