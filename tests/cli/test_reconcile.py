"""`kazoo-rec reconcile`: a day of a real switch (tests/traces/day) beside the rows that the engine wrote of it."""

import json
from contextlib import closing
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from sqlalchemy import NullPool, create_engine, update

from kazoo_rec.cli.reconcile import reconcile
from kazoo_rec.documents import files
from kazoo_rec.errors import CdrUnreadable
from kazoo_rec.store import Store
from kazoo_rec.store.migrations import migrate
from kazoo_rec.store.tables import recordings
from kazoo_rec.traces.cdr import COLUMNS, NEEDED
from tests import database
from tests.traces import HERE

DAY = HERE / "day"
DETAILS = [json.loads(line) for line in (DAY / "cdr.jsonl").read_text().splitlines()]
ROWS = json.loads((DAY / "rows.json").read_text())

#: Of the day's last call, which no engine heard; of the one that had its media around the switch.
UNHEARD = {("4bd04a1c", "account.inbound"): "nothing", ("80e3e268", "callee.inbound"): "nothing"}
BYPASSED = {("67240e6b", "account.inbound"): "failed", ("fae0cf14", "callee.inbound"): "failed"}


class Site:
    """The database of that day."""

    def __init__(self, place):
        self.place, self.url = place, database.of(place)
        (place / "kazoo_rec.yaml").write_text(json.dumps({
            "node": "lab", **database.said(place), "recordings_dir": "/rec", "switches": [{"password": "x"}]}))
        migrate(self.url)
        with closing(Store(self.url)) as store:
            store.documents.take_files(files.read(DAY / "documents")).get()
            for row in ROWS:
                flags = {name: bool(row[name]) for name in ("partial", "truncated_by_limit", "legal_hold")}
                store.recordings.insert({**row, **flags}).get()

    def change(self, recording_id, **columns):
        engine = create_engine(self.url.url, poolclass=NullPool)
        with engine.begin() as connection:  # past the store, which moves no state backwards
            connection.execute(update(recordings).where(recordings.c.id == recording_id).values(columns))

    def write(self, text, name="cdr"):
        file = self.place / name
        file.write_text(text) if isinstance(text, str) else file.write_bytes(text)
        return file

    def run(self, *arguments, cdr=DAY / "cdr.jsonl"):
        return CliRunner().invoke(reconcile, [
            "--config", f"{self.place}/kazoo_rec.yaml", "--cdr", str(cdr), *map(str, arguments)])

    def found(self, *arguments, **options):
        """{(first characters of a leg's uuid, rule): outcome}"""
        told = self.run("--json", *arguments, **options)
        assert told.exception is None or isinstance(told.exception, SystemExit), told.exception
        lines = [json.loads(line) for line in told.stdout.splitlines()]
        return {(line["call_id"][:8], line["rule"]): line["outcome"] for line in lines}


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    return Site(tmp_path_factory.mktemp("day"))


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


@pytest.mark.parametrize("name", ["cdr.jsonl", "cdr.csv"])
def test_what_is_missing_of_the_day_is_found_and_nothing_else(day, name):
    told = day.run(cdr=DAY / name)
    assert told.exit_code == 1
    assert day.found(cdr=DAY / name) == UNHEARD | BYPASSED
    assert "21 legs, 17 recordings that had to be, 13 recorded, 2 failed, 2 nothing" in told.stderr


def test_every_row_of_the_day_is_what_policy_says_of_its_details(day):
    all_of_it = day.found("--all")
    made = {(row["call_id"][:8], row["rule"]) for row in ROWS if row["state"] in ("recorded", "failed")}
    assert all_of_it.keys() == made | UNHEARD.keys()


def test_a_line_says_call_leg_rule_and_what_there_is(day):
    lines = day.run().stdout.splitlines()
    (line,) = [line for line in lines if "80e3e268" in line]
    assert line.startswith("2026-11-21 18:06:57Z  call 4bd04a1c-")
    assert "leg B 80e3e268-" in line and "acme  callee.inbound" in line and line.endswith("  nothing")
    assert sum(line.endswith("  failed: no media") for line in lines) == 2


def test_where_all_is_whole_it_says_so_and_succeeds(site):
    those = [one for one in DETAILS if one["variables"]["uuid"][:8] not in ("4bd04a1c", "80e3e268", "67240e6b",
                                                                            "fae0cf14")]
    told = site.run(cdr=site.write("\n".join(map(json.dumps, those))))
    assert (told.exit_code, told.stdout) == (0, "") and "17 legs, 13 recordings that had to be, 13" in told.stderr


def test_what_is_partial_is_told_with_its_figures(site):
    row = next(row for row in ROWS if row["state"] == "recorded")
    site.change(row["id"], partial=True, state_reason="partial: 700 ms of 1280 ms", duration_ms=700)
    assert site.found()[row["call_id"][:8], row["rule"]] == "partial"
    (line,) = [line for line in site.run().stdout.splitlines() if "partial" in line]
    assert line.endswith("partial: partial: 700 ms of 1280 ms, 0.7 s of it")


@pytest.mark.parametrize(("state", "outcome"), [
    ("recording", "waits"), ("stopped", "waits"), ("discarded", "discarded"), ("deleted", "deleted")])
def test_what_waits_and_what_is_not_to_be_is_not_missing(site, state, outcome):
    row = next(row for row in ROWS if row["state"] == "recorded")
    site.change(row["id"], state=state)
    key = row["call_id"][:8], row["rule"]
    assert site.found("--all")[key] == outcome and key not in site.found()


def test_what_another_rule_of_the_account_has_recorded_is_recorded(site):
    row = next(row for row in ROWS if row["state"] == "recorded")
    site.change(row["id"], rule="account.outbound")
    assert site.found() == UNHEARD | BYPASSED
    site.change(row["id"], account_id="globex")
    assert site.found()[row["call_id"][:8], row["rule"]] == "nothing"


def test_what_is_announced_first_had_to_be_recorded(site):
    with closing(Store(site.url)) as store:
        document = dict(next(one["body"] for one in store.documents.since(0) if one["kind"] == "account"
                             and one["account_id"] == "acme"))
        document["call_recording"] = {"account": {"any": {"any": {
            "enabled": True, "announce": {"required": True, "tone": "tone_stream://%(500,100,440)"}}}}}
        store.documents.take_files([{"kind": "account", "account_id": "acme", "id": "acme", "body": document,
                                     "source": "x"}]).get()
    assert ("4bd04a1c", "account.inbound") in site.found()


# -- files


def test_the_template_that_is_shipped_has_the_columns_that_are_looked_for():
    file = HERE.parents[1] / "freeswitch-conf/autoload_configs/cdr_csv.conf.xml"
    (template,) = ElementTree.parse(file).iterfind(".//template[@name='kazoo_rec']")
    assert template.text.strip('"').split('","') == [f"${{{name}}}" for name in COLUMNS]
    assert set(NEEDED) <= set(COLUMNS)


@pytest.mark.parametrize("text", [
    "".join(map(json.dumps, DETAILS)), json.dumps(DETAILS), json.dumps(DETAILS, indent=2),
    "\n\n".join(json.dumps(one, indent=1) for one in DETAILS)])
def test_objects_may_stand_in_any_way_in_their_file(day, text):
    assert day.found(cdr=day.write(text)) == UNHEARD | BYPASSED


def test_a_directory_has_a_file_a_leg_as_mod_json_cdr_writes_them(day):
    place = day.place / "json_cdr"
    place.mkdir()
    for one in DETAILS:
        (place / f"{one['variables']['uuid']}.cdr.json").write_text(json.dumps(one))
    assert day.found(cdr=place) == UNHEARD | BYPASSED


def test_values_need_not_be_encoded(day):
    plain = [{**one, "variables": {name: unquote(value) for name, value in one["variables"].items()}}
             for one in DETAILS]
    assert day.found(cdr=day.write("\n".join(map(json.dumps, plain)))) == UNHEARD | BYPASSED


def test_the_order_of_the_legs_does_not_matter_and_a_leg_twice_is_one(day):
    text = "\n".join(map(json.dumps, [*reversed(DETAILS), *DETAILS[:5]]))
    assert day.found(cdr=day.write(text)) == UNHEARD | BYPASSED
    assert "21 legs," in day.run(cdr=day.write(text)).stderr


def test_csv_of_another_template_needs_its_columns_said(day):
    names, *lines = (DAY / "cdr.csv").read_text().splitlines()
    file = day.write("\n".join(lines))
    assert isinstance(day.run(cdr=file).exception, CdrUnreadable)
    assert day.found("--columns", names, cdr=file) == UNHEARD | BYPASSED


def test_csv_that_does_not_tell_enough_is_refused_with_the_columns_that_it_lacks(day):
    example = "caller_id_name,caller_id_number,destination_number,context,start_stamp,uuid"
    told = day.run("--columns", example, cdr=day.write('"x","1","2","default","2026-11-21 18:00:00","u"\n'))
    assert isinstance(told.exception, CdrUnreadable)
    assert "originator, direction, channel_name" in told.exception.detail and "kazoo_rec" in told.exception.hint


@pytest.mark.parametrize("broken", [
    '{"variables": {"uuid": "x"', '{"variables": 7}', "[[[x", "\x00", '{"variables": {"uuid": "x", "direction": "up"}}',
    '{"variables": {"uuid": "x", "direction": "inbound", "start_uepoch": "١", "answer_uepoch": "0", '
    '"bridge_uepoch": "0", "end_uepoch": "0"}}', '{"callflow": [7], "variables": {}}'])
def test_what_is_no_record_is_counted_and_the_others_are_read(day, broken):
    text = "\n".join([json.dumps(DETAILS[0]), broken, *map(json.dumps, DETAILS[1:])])
    told = day.run(cdr=day.write(text))
    assert told.exit_code == 1 and "no call detail record" in told.stderr
    assert day.found(cdr=day.write(text)) == UNHEARD | BYPASSED


def test_a_line_that_a_caller_has_broken_is_counted_and_hides_no_other(day):
    names, first, *lines = (DAY / "cdr.csv").read_text().splitlines()
    hostile = first.replace('"1000@acme.example"', '"x\ny"z"', 1)
    told = day.run(cdr=day.write("\n".join([names, hostile, *lines])))
    assert "2 lines or objects" in told.stderr or "1 lines or objects" in told.stderr
    assert UNHEARD.items() <= day.found(cdr=day.write("\n".join([names, hostile, *lines]))).items()


def test_hostile_text_is_shown_and_does_nothing(day):
    one = json.loads(json.dumps(next(one for one in DETAILS if one["variables"]["uuid"].startswith("4bd04a1c"))))
    evil = "%1b[31mred%0a2026-11-21 forged%00%e2%80%ae\ud800"
    one["variables"] |= {"uuid": f"{one['variables']['uuid']}{evil}", "sip_from_uri": evil,
                         "sip_to_uri": "x" * 100_000}
    told = day.run(cdr=day.write(json.dumps(one)))
    (line,) = told.stdout.splitlines()
    assert "nothing" in line and line.isprintable() and len(line) < 1000
    (line,) = day.run("--json", cdr=day.write(json.dumps(one))).stdout.splitlines()
    assert line.isascii() and json.loads(line)["outcome"] == "nothing"


def test_bytes_that_are_no_text_do_not_end_it(day):
    assert day.found(cdr=day.write(b"\xff\xfe\n" + (DAY / "cdr.jsonl").read_bytes())) == UNHEARD | BYPASSED


def test_legs_whose_other_leg_is_in_no_file_are_told(day):
    callers = [one for one in DETAILS if one["variables"]["direction"] == "inbound"]
    told = day.run(cdr=day.write("\n".join(map(json.dumps, callers))))
    assert "legs whose other leg is in no file" in told.stderr
