"""A site in use moves to another database: PostgreSQL's, or another file where there is none."""

from kazoo_rec.store import moving
from tests import database
from tests.faults.child import Child
from tests.faults.site import Site
from tests.faults.truth import Ledger, received


def migrate(site, target, *more):
    """How it ended, and what it said."""
    state_dir = ["--state-dir", target["state_dir"]] if "state_dir" in target else []
    log = site.place / "migrate.log"
    log.write_text("")
    child = Child(log, "kazoo_rec", "migrate", "--from", database.a_file(site.place)["database"], "--to",
                  target["database"], *state_dir, *more)
    code = child.wait(120)
    child.kill()
    return code, log.read_text()


def test_a_site_moves_while_it_records_and_nothing_is_missed_lost_or_sent_twice(tmp_path, table):
    database.say(tmp_path, database.a_file(tmp_path))
    (tmp_path / "new").mkdir()
    target = database.said(tmp_path / "new")
    with Site(tmp_path) as site:
        long = site.call(talk_s=None)
        site.traffic(calls_s=1, talk_s=(1.5, 4.0), number=1)
        site.until(lambda: len(site.ledger.recordings()) > 12, 30, "there are not enough recordings")
        code, said = migrate(site, target)
        assert code == 0, said
        site.switch.ask("hush")
        ended = site.call(talk_s=3, number=500)
        site.wait_row(call_id=ended, state="recording")
        site.note_outage()
        for role in reversed(site.processes.values()):
            role.stop()
        site.until(lambda: site.switch.ask("legs") == 2, 20, "more goes on than the long call")
        code, said = migrate(site, target, "--last")
        assert code == 0, said
        before = {row["id"] for row in site.ledger.recordings()}

        site.start("engine")
        assert site.processes["engine"].wait(60) == 1 and "this database was moved" in site.log.read_text()
        database.say(tmp_path, target)
        site._write_config()
        site.ledger = Ledger(tmp_path)
        assert {row["id"] for row in site.ledger.recordings()} == before
        for role in ("engine", "delivery"):
            site.start(role)
        site.wait_taken_in()
        site.switch.ask("hang_up")
        site.wait_quiet()
        account = site.account()
        table.add("moved to another database", account)
        assert account.delivered + account.reported == account.wanted
        rows = {row["call_id"]: row for row in site.ledger.recordings()}
        assert rows[long]["id"] in before and rows[long]["state"] == "recorded" and not rows[long]["partial"]
        assert len(received(site.place / "received" / "journal")[rows[long]["id"]]) == 1
        assert rows[ended]["state"] == "recorded" and "its end was not heard" in rows[ended]["state_reason"]
        assert moving.named(database.of(tmp_path)) in said
