"""docs/fidelity.md says what is compared and what a script may say; here it is held to that."""

import re
from pathlib import Path

import yaml

from kazoo_rec.simulator.call import Call
from kazoo_rec.simulator.faults import strike
from kazoo_rec.simulator.script import Script
from tests.simulator.conftest import alice, bob
from tests.simulator.traced import DOCUMENT
from tests.traces import SCENARIOS

ROOT = Path(__file__).parents[2]
TABLES = [[[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()[2:]]
          for table in re.findall(r"(?m)^\|.*\n(?:\|.*\n)+", (ROOT / "docs" / "fidelity.md").read_text())]


def test_every_scenario_is_listed_and_said_to_be_simulated_where_it_is():
    rows = {row[0]: row for row in TABLES[0]}
    assert tuple(rows) == SCENARIOS
    assert {name for name, row in rows.items() if row[2].startswith("yes")} == set(DOCUMENT["traced"])


def test_the_real_switchs_tests_that_are_named_exist():
    named = {name for row in TABLES[0] for name in re.findall(r"test_\w+", row[3])}
    assert named and all((ROOT / "tests" / "freeswitch" / f"{name}.py").exists() for name in named)


def test_every_line_of_an_oddity_is_one_that_a_script_takes_and_a_test_of_the_whole_way_plays(switch):
    whole_way = (ROOT / "tests" / "test_whole_way.py").read_text()
    call = Call(switch, Script(alice(), (bob(),)))
    lines = [line for row in TABLES[2] for line in re.findall(r"`([^`]+)`", row[1]) if not line.startswith("record_")]
    for line in lines:
        assert line in whole_way.replace("{event}", "RECORD_STOP"), line
        if not line.startswith(("bridge", "set ")):
            strike(line, call)
    assert len(lines) > 15


def test_every_known_difference_of_headers_has_its_reason():
    differences = yaml.safe_load(Path(__file__).with_name("headers.yaml").read_text())["differences"]
    assert differences and all(each["why"] for each in differences)
