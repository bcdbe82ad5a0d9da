"""PostgreSQL is killed, stopped, begun again, silent, slow, full, read-only, or loses sessions and answers: calls are
recorded, and their rows follow, in order and once.

The server is this module's own: those of other tests go on.
"""

import subprocess
import time
from contextlib import suppress

import pytest
from gevent.event import Event
from sqlalchemy.engine import make_url

from tests import database, postgres
from tests.faults.site import Site
from tests.faults.truth import talks
from tests.faults.wire import Wire

pytestmark = pytest.mark.postgres

LONG = pytest.mark.long

CALLS = 4

#: Seconds that a server is away where it is for long.
LONG_S = 60

#: Seconds that all takes to a server that is far and back again: some 2000 km.
FAR_S = 0.02

#: What a server says of what is committed.
COMMITTED = b"COMMIT\0"

#: Bytes of the disk that the database is on: it has 7.5 MB when it is new.
DISK_BYTES = 48 * 1024 * 1024

_END_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'kazoo_rec'"


@pytest.fixture(scope="module")
def running():
    with postgres.started() as server, pytest.MonkeyPatch.context() as here:
        here.setattr(database, "SERVER", server.url)
        yield server


@pytest.fixture(scope="module")
def disk(running):
    """Of the database alone: a tmpfs, which only root may mount. None where it may not."""
    disk = running.place / "disk"
    disk.mkdir()
    size = f"size={DISK_BYTES},mode=700"
    is_mounted = not subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", disk], check=False).returncode
    running.own(disk)
    database.do(running.url, f"CREATE TABLESPACE its_own LOCATION '{disk}'")
    yield disk if is_mounted else None
    if is_mounted:
        running.stop()
        subprocess.run(["umount", disk], check=True)


@pytest.fixture(scope="module")
def laid(running):
    """Between product and server."""
    server = make_url(running.url)
    wire = Wire((server.host, server.port))
    yield wire
    wire.stop()


@pytest.fixture(scope="module")
def shared(running, disk, laid, tmp_path_factory):
    place = tmp_path_factory.mktemp("site")
    said = make_url(database.said(place, "TABLESPACE its_own")["database"]).set(port=laid.port)
    with Site(place, config={"database": said.render_as_string(hide_password=False)}) as site:
        site.until(lambda: site.ledger.rows("SELECT node FROM vitals WHERE role = 'delivery'"), 20, "no delivery")
        yield site
    database.forget(place)


@pytest.fixture
def server(running):
    yield running
    running.thaw()
    if not running.runs:
        running.start()


@pytest.fixture
def wire(laid):
    yield laid
    laid.lose(None)
    laid.late_s = 0.0


@pytest.fixture
def site(shared, server):
    yield shared
    shared.switch.ask("hush")
    shared.switch.ask("hang_up")


@pytest.fixture
def settle(site, table):
    """Waits until nothing is left to do, and adds what became of the calls to the table: each leg has its recording,
    whole, once, and delivered."""
    since_ms = time.time_ns() // 1_000_000

    def settled(fault, runs=1, within_s=60):
        site.until(lambda: not site.switch.ask("legs"), 20, "the calls do not end")
        legs = {uuid for uuid, leg in talks(site.journal).items() if leg.spoken[0][0] >= since_ms and leg.is_wanted}
        site.until(lambda: legs <= {row["call_id"] for row in site.ledger.recordings()}, within_s,
                   "a row was never written")
        site.wait_quiet(within_s)
        account = site.account(since_ms)
        table.add(fault, account, runs)
        assert account.wanted == account.delivered
        return account

    return settled


def talk(site, calls=CALLS):
    """Calls, until they are over. Each leg was armed before its answer: nothing waited for a row."""
    armed = site.switch.ask("commands", contains="execute_on_answer")
    for _ in range(calls):
        site.call(talk_s=1.5)
    recorded(site, 2 * calls)
    site.until(lambda: not site.switch.ask("legs"), 20, "the calls do not end")
    assert site.switch.ask("commands", contains="execute_on_answer") - armed == 2 * calls
    assert not site.switch.ask("commands", contains="uuid_record")


def recorded(site, legs):
    site.until(lambda: sum(map(len, site.switch.ask("recorded").values())) == legs, 20, "not all is recorded")


def meets(site, why="database refuses writes"):
    """Waits until the engine, from now on, says so."""
    before = site.log.read_text().count(why)
    site.until(lambda: site.log.read_text().count(why) > before, 40, "nothing was refused")


@pytest.mark.parametrize("end", ["kill", pytest.param("stop", marks=LONG)])
def test_calls_are_recorded_while_the_server_is_gone_and_their_rows_follow(site, server, settle, end):
    for _ in range(CALLS):
        site.call(talk_s=None)
    recorded(site, 2 * CALLS)
    getattr(server, end)()
    site.switch.ask("hang_up")
    site.until(lambda: not site.switch.ask("legs"), 20, "the calls do not end")
    talk(site)
    meets(site)
    server.start()
    assert settle(f"server gone: {end}").wanted == 4 * CALLS


def test_a_server_that_is_killed_and_restarted_again_and_again_under_traffic_loses_nothing(site, server, settle):
    site.traffic(calls_s=5, talk_s=(1.0, 3.0))
    for end in ("kill", "stop", "kill"):
        Event().wait(site.chance.uniform(0.5, 1.5))
        getattr(server, end)()
        server.start()
    site.switch.ask("hush")
    settle("server restarted", runs=3)


@LONG
@pytest.mark.parametrize("away", ["kill", "freeze"])
def test_a_server_that_is_away_for_a_minute_loses_nothing(site, server, settle, away):
    site.traffic(calls_s=5, talk_s=(2.0, 5.0))
    getattr(server, away)()
    Event().wait(LONG_S)
    site.switch.ask("hush")
    server.start() if away == "kill" else server.thaw()
    assert settle(f"server away for {LONG_S} s: {away}", within_s=120).wanted > 200


def test_sessions_that_are_ended_again_and_again_lose_nothing(site, running, settle):
    site.traffic(calls_s=5, talk_s=(1.0, 2.0))
    for _ in range(20):
        Event().wait(0.15)
        database.do(running.url, _END_ALL)
    site.switch.ask("hush")
    settle("sessions ended", runs=20)


def test_a_server_that_takes_connections_and_says_nothing_holds_up_no_call(site, server, settle):
    server.freeze()
    talk(site)
    meets(site)
    server.thaw()
    assert settle("server silent").wanted == 2 * CALLS


def test_a_session_that_hangs_is_given_up_for_another(site, server, settle):
    """As one whose host has gone while its network says that all is well."""
    sessions = site.ledger.rows("SELECT pid FROM pg_stat_activity WHERE application_name = 'kazoo_rec'")
    server.freeze(*(session["pid"] for session in sessions))
    talk(site)
    assert settle("sessions hang").wanted == 2 * CALLS


def test_answers_to_what_was_committed_that_are_lost_double_nothing(site, wire, settle):
    for then in ("end", "deaden"):
        before = wire.lost
        wire.lose(COMMITTED, then)
        talk(site)
        wire.lose(None)
        assert wire.lost > before
    assert settle("answers lost").wanted == 4 * CALLS


@LONG
def test_a_server_that_is_far_holds_up_no_call(site, wire, settle):
    wire.late_s = FAR_S / 2
    talk(site)
    assert settle("server far").wanted == 2 * CALLS


def test_a_database_that_may_only_be_read_is_written_when_it_may_be_written(site, running, settle):
    name = make_url(database.of(site.place).url).database
    database.do(running.url, f"ALTER DATABASE {name} SET default_transaction_read_only = on", _END_ALL)
    talk(site)
    meets(site, "read-only transaction")
    database.do(running.url, f"ALTER DATABASE {name} RESET default_transaction_read_only", _END_ALL)
    assert settle("database read-only").wanted == 2 * CALLS


def test_calls_are_recorded_while_the_server_s_disk_is_full_and_their_rows_follow(site, disk, settle):
    if disk is None:
        pytest.skip("no disk can be mounted here")
    theirs = disk / "theirs"
    with open(theirs, "wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    calls = 0
    while "No space left on device" not in site.log.read_text():
        talk(site, 20)
        calls += 20
    theirs.unlink()
    assert settle("server's disk full").wanted == 2 * calls


@LONG
def test_an_engine_that_is_killed_while_the_server_is_gone_loses_no_file(site, server, table):
    """The next one takes what is recorded up under its id."""
    since_ms, rows = time.time_ns() // 1_000_000, len(site.ledger.recordings())
    server.kill()
    for _ in range(CALLS):
        site.call(talk_s=None)
    recorded(site, 2 * CALLS)
    site.kill("engine")
    server.start()
    site.restart("engine")
    site.wait_heard()
    site.until(lambda: len(site.ledger.recordings()) == rows + 2 * CALLS, 60, "not every recording was taken up")
    site.switch.ask("hang_up")
    site.wait_quiet()
    account = site.account(since_ms)
    table.add("server gone, engine killed", account)
    assert account.wanted == 2 * CALLS


@LONG
def test_roles_that_begin_while_the_server_is_gone_wait_for_it(server, tmp_path, table):
    with Site(tmp_path, supervised=True) as site:
        for _ in range(CALLS):
            site.call(talk_s=None)
        recorded(site, 2 * CALLS)
        site.until(lambda: len(site.ledger.rows("SELECT id FROM recordings WHERE state = 'recording'")) == 2 * CALLS,
                   20, "the rows are not written")
        server.stop()
        for role in ("engine", "delivery"):
            site.kill(role)
        meets(site, "the database cannot be reached")
        server.start()
        site.wait_heard()
        site.switch.ask("hang_up")
        site.until(lambda: not site.switch.ask("legs"), 20, "the calls do not end")
        site.wait_quiet()
        account = site.account()
        table.add("server gone, roles killed", account)
        assert account.wanted == account.delivered == 2 * CALLS
    database.forget(tmp_path)
