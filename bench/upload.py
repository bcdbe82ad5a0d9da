"""Uploads a second: 1,000 files of 1 MB to a server on this host: `python bench/upload.py`.

Ours is the delivery's worker over a store in which they are due: Repr-Digest, Idempotency-Key, the hash of what was
sent and the committed row of each included. The peer is `curl`, which reads the same files and sends them, as many at
once, without the `Expect: 100-continue` for whose answer it would wait a second. The server, the same for both, reads
each body and answers 201.
"""

import hashlib
import json
import os
import resource
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

GOAL = 0.35  #: of curl's rate
ROUNDS = 5
FILES = 1_000
FILE_BYTES = 1_000_000
AT_ONCE = 16  #: `uploads` and, as there is one server, `uploads_per_host`
MOST_S = 300

NODE = "fs1"
DELIVERED = "kazoo_rec_delivery_attempts_total"


def serve():
    """Answers a PUT 201 when its body has come, a GET with how many (requests, bytes) did."""
    block, counts = memoryview(bytearray(262_144)), [0, 0]

    def converse(client):
        read = b""
        while True:
            while b"\r\n\r\n" not in read:
                yield
                got = client.recv(len(block))
                if not got:
                    return
                read += got
            head, _, body = read.partition(b"\r\n\r\n")
            if head.startswith(b"GET "):
                answer = json.dumps(counts).encode()
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))
                read = body
                continue
            length = int(head.lower().partition(b"\r\ncontent-length:")[2].split()[0])
            left = length - len(body)
            while left:
                yield
                count = client.recv_into(block, min(left, len(block)))
                if not count:
                    return
                left -= count
            counts[:] = counts[0] + 1, counts[1] + length
            client.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
            read = b""

    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener, selectors.DefaultSelector() as ready:
        print(listener.getsockname()[1], flush=True)
        ready.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fileobj is listener:
                    client, _ = listener.accept()
                    conversation = converse(client)
                    next(conversation)
                    ready.register(client, selectors.EVENT_READ, conversation)
                    continue
                try:
                    next(key.data)
                except (StopIteration, ConnectionError):
                    ready.unregister(key.fileobj)
                    key.fileobj.close()


def write_files(directory: Path) -> list[dict]:
    """Rows of finished recordings, each with a file of its own."""
    folder, noise, rows = directory / "acme" / "20261121", os.urandom(FILE_BYTES - 8), []
    folder.mkdir(parents=True)
    for number in range(FILES):
        recording_id, content = f"202611-{number:032x}", number.to_bytes(8) + noise
        path = folder / f"{recording_id}.wav"
        path.write_bytes(content)
        rows.append({
            "id": recording_id, "node": NODE, "account_id": "acme", "call_id": f"leg-{number}",
            "interaction_id": f"talk-{number}", "leg": "A", "rule": "account.inbound", "reason": "enabled",
            "settings": {"format": "wav", "method": "put"}, "settings_from": {}, "source": "offnet",
            "direction": "inbound", "from_uri": "1001@acme.example", "to_uri": "1002@acme.example",
            "caller_id_name": "Ann", "caller_id_number": "1001", "callee_id_name": "", "callee_id_number": "1002",
            "origin": "policy", "state": "recorded", "master": str(path.relative_to(directory)),
            "started_ms": 1_795_221_338_000, "stopped_ms": 1_795_221_400_000, "duration_ms": 62_000,
            "file": str(path.relative_to(directory)), "content_type": "audio/wav", "size_bytes": FILE_BYTES,
            "sha256": hashlib.sha256(content).hexdigest(), "channels": 1, "sample_rate": 8_000,
        })
    return rows


def deliver(directory: Path, port: int):
    """Fills a new store, delivers what is due in it and says how many seconds that took."""
    from gevent import monkey

    monkey.patch_all()
    import gevent

    from kazoo_rec.delivery.connections import Connections
    from kazoo_rec.delivery.networks import Networks
    from kazoo_rec.delivery.settings import DeliverySettings
    from kazoo_rec.delivery.worker import Worker
    from kazoo_rec.logs import configure
    from kazoo_rec.roles.delivery import THREADS
    from kazoo_rec.roles.priority import behind_everybody
    from kazoo_rec.store import Store, epoch_ms
    from kazoo_rec.store.migrations import migrate
    from kazoo_rec.threads import Threads

    behind_everybody()
    configure()
    rows, url = json.loads((directory / "rows.json").read_text()), f"http://127.0.0.1:{port}/recordings"
    with TemporaryDirectory(dir=directory) as place:
        database = f"sqlite:///{place}/kazoo_rec.db"
        migrate(database)
        store, threads, now_ms = Store(database), Threads(THREADS), epoch_ms()
        inserted = [store.recordings.insert({**row, "state": "stopped"}) for row in rows]
        finished = [store.recordings.finish(row["id"], {"state": "recorded"}, [{
            "recording_id": row["id"], "node": NODE, "account_id": "acme", "kind": "upload", "url": url,
            "host": f"http://127.0.0.1:{port}", "method": "put", "state": "due", "next_attempt_ms": now_ms,
            "give_up_ms": now_ms + 3_600_000, "created_ms": now_ms}]) for row in rows]
        gevent.joinall(inserted + finished)
        settings = DeliverySettings(uploads=AT_ONCE, uploads_per_host=AT_ONCE)
        connections = Connections(AT_ONCE, networks=Networks(["127.0.0.0/8"]))
        worker = Worker(store, NODE, directory, threads, settings, connections, epoch_ms)
        since, cpu_s = time.perf_counter(), time.process_time()
        with gevent.Timeout(MOST_S):
            worker.start()
            # Counted when its row is committed; to ask the store for it would be work that nobody has.
            while worker.meter.registry.get_sample_value(DELIVERED, {"outcome": "delivered"}) < FILES:
                gevent.sleep(0.02)
        seconds, cpu_s = time.perf_counter() - since, time.process_time() - cpu_s
        worker.stop()
        proofs = sum(one["state"] == "delivered" and one["proof_sha256"] == row["sha256"]
                     for row in rows for one in store.deliveries.of(row["id"]))
        store.close()
        threads.kill()
    print(json.dumps({"rate": FILES / seconds, "cpu_ms": cpu_s * 1000 / FILES, "proofs": proofs}))


def kazoo_rec(directory: Path, port: int) -> dict:
    done = subprocess.run([sys.executable, __file__, "deliver", directory, str(port)], check=True, timeout=2 * MOST_S,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    found = json.loads(done.stdout.splitlines()[-1])
    if found["proofs"] != FILES:
        sys.exit(f"{found['proofs']} of {FILES} deliveries are proved")
    return found


def curl(directory: Path, port: int) -> dict:
    # `timeout` bounds it, as subprocess would look for its end each 50 ms.
    since, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["timeout", "--foreground", str(MOST_S), "curl", "--silent", "--no-progress-meter", "--show-error",
                    "--fail", "--header", "Expect:", "--parallel", "--parallel-max", str(AT_ONCE), "--config",
                    directory / "curl"], check=True)
    seconds, after = time.perf_counter() - since, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"rate": FILES / seconds, "cpu_ms": cpu_s * 1000 / FILES}


def counted(port: int) -> list[int]:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        return json.loads(client.recv(4_096).partition(b"\r\n\r\n")[2])


def main() -> int:
    if shutil.which("curl") is None:
        print("NOT RUN: there is no `curl` program")
        return 2
    with TemporaryDirectory() as place, subprocess.Popen(
            [sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True) as server:
        try:
            directory, port = Path(place), int(server.stdout.readline())
            rows = write_files(directory)
            (directory / "rows.json").write_text(json.dumps(rows))
            (directory / "curl").write_text("".join(
                f'upload-file = "{directory / row["file"]}"\nurl = "http://127.0.0.1:{port}/recordings/{row["id"]}.wav"\n'
                for row in rows))
            os.sync()  # what is still to be written of a gigabyte would hold up the rows
            print(f"{FILES} files of {FILE_BYTES} bytes, {AT_ONCE} at once; files/s, and ms of processor for each:")
            peer, ours = [], []
            for number in range(1, ROUNDS + 1):
                peer.append(curl(directory, port))
                ours.append(kazoo_rec(directory, port))
                print(f"  {number}: curl {peer[-1]['rate']:5.0f}, {peer[-1]['cpu_ms']:.2f};"
                      f"  kazoo_rec {ours[-1]['rate']:5.0f}, {ours[-1]['cpu_ms']:.2f}", flush=True)
            uploads = 2 * ROUNDS * FILES
            if counted(port) != [uploads, uploads * FILE_BYTES]:
                sys.exit(f"the server has {counted(port)}, not {uploads} files")
        finally:
            server.kill()
    value, of_peer = (statistics.median(one["rate"] for one in rounds) for rounds in (ours, peer))
    ratio = value / of_peer
    print(json.dumps({"bench": "upload", "value": round(value), "peer": round(of_peer), "ratio": round(ratio, 2),
                      "goal": GOAL, "ok": ratio >= GOAL, "uploads_at_once": AT_ONCE,
                      "cpu_ms": round(statistics.median(one["cpu_ms"] for one in ours), 2),
                      "peer_cpu_ms": round(statistics.median(one["cpu_ms"] for one in peer), 2)}))
    return 0 if ratio >= GOAL else 1


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            sys.exit(main())
        case ["serve"]:
            serve()
        case ["deliver", directory, port]:
            deliver(Path(directory), int(port))
