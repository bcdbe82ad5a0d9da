"""From a stopped row of the real store to a verified file at the receiver."""

import socket

import pytest
from gevent.event import Event

from kazoo_rec.delivery.receiver import Receiver
from kazoo_rec.delivery.settings import DeliverySettings
from kazoo_rec.delivery.worker import Worker
from kazoo_rec.store import Store, epoch_ms
from kazoo_rec.store.migrations import migrate
from tests import database
from tests.media.sounds import write_talk

from .fakes import RECORDING_ID, stopped_row

#: Columns that delivery does not read and the table wants.
OTHER_COLUMNS = {"leg": "A", "rule": "account.inbound", "reason": "because", "settings_from": {}, "source": "offnet",
                 "direction": "inbound", "callee_id_name": "", "callee_id_number": "", "origin": "account inbound"}


@pytest.fixture
def store(tmp_path):
    url = database.of(tmp_path)
    migrate(url)
    store = Store(url)
    yield store
    store.close()


def test_what_stopped_arrives_verified_is_proved_and_leaves(store, tmp_path, pool, connections):
    all_arrived = Event()

    def arrived(received):
        if len(receiver.files) == 12:
            all_arrived.set()

    receiver = Receiver(tmp_path / "received", socket.create_server(("127.0.0.1", 0)), arrived)
    receiver.start()
    rows = [stopped_row(f"{RECORDING_ID[:-2]}{number:02}", {"url": receiver.url, "format": "mp3"}, **OTHER_COLUMNS)
            for number in range(12)]
    for row in rows:
        write_talk(tmp_path / "recordings" / row["master"])
        store.recordings.insert(row).get(timeout=5)
    worker = Worker(store, "fs1", tmp_path / "recordings", pool, DeliverySettings(remove_after_delivery=True),
                    connections, epoch_ms)
    worker.start()
    assert all_arrived.wait(10)
    worker.stop()
    receiver.stop()
    held = {received.recording_id: received for received in receiver.files}
    for row in rows:
        recording, [upload] = store.recordings.get(row["id"]), store.deliveries.of(row["id"])
        assert (recording["state"], upload["state"], upload["attempts"]) == ("recorded", "delivered", 1)
        assert held[row["id"]].verified
        assert upload["proof_sha256"] == recording["sha256"] == held[row["id"]].sha256
        assert upload["etag"] == f'"{recording["sha256"]}"'
    assert not [path for path in (tmp_path / "recordings").rglob("*") if path.is_file()]
