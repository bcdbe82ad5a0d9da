"""`kazoo-rec trace` and `kazoo-rec replay` on real calls: a replay says what the engine did."""

import json
import os
import signal
import subprocess
import sys

from tests.freeswitch.product import until
from tests.freeswitch.talk import talk

LEGS = [
    ("caller", "onnet", "acme", "authentication", "onnet", "onnet", ["account.outbound", "caller.outbound"]),
    ("callee", "onnet", "acme", "dialled user", "onnet", "onnet", ["callee.inbound"]),
    ("caller", "onnet", "acme", "authentication", "onnet", "offnet", ["account.outbound"]),
    ("callee", "offnet", "acme", "partner", "onnet", "offnet", []),
    ("caller", "offnet", "acme", "number", "offnet", "onnet", ["account.inbound"]),
    ("callee", "onnet", "acme", "dialled user", "offnet", "onnet", ["callee.inbound"]),
    ("caller", "onnet", "acme", "authentication", "onnet", "offnet", ["account.outbound"]),
    ("callee", "onnet", "globex", "dialled user", "offnet", "onnet", ["account.inbound"]),
    ("caller", "onnet", "acme", "authentication", "onnet", "onnet", ["account.outbound", "caller.outbound"]),
]


def kazoo_rec(*arguments, **environment):
    return subprocess.Popen([sys.executable, "-m", "kazoo_rec", *map(str, arguments)], text=True,
                            env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def ended(process):
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    return output


def replayed(trace, documents):
    output = ended(kazoo_rec("replay", "--json", trace, "--documents", documents))
    return [json.loads(line) for line in output.splitlines()]


def shape(legs):
    return [(leg["role"], leg["network"], leg["account_id"], leg["known_by"], leg["source"], leg["destination"],
             [one["rule"] for one in leg["recordings"] if one["outcome"] == "recorded"]) for leg in legs]


def test_a_replay_says_what_the_engine_did_masked_or_not(lab, switch, tmp_path, alice, bob, carrier, zoe):
    on = lab.record
    lab.obey({"acme/account": {"account": {"inbound": {"offnet": on()}, "outbound": {"any": on()}}},
              "acme/users/usr-acme-1000": {"outbound": {"onnet": on()}},
              "acme/users/usr-acme-1001": {"inbound": {"any": on()}},
              "globex/account": {"account": {"inbound": {"offnet": on()}}}})
    plain, masked = tmp_path / "plain.jsonl", tmp_path / "masked.jsonl"
    where = ("trace", "--seconds", 300, "--host", switch.host, "--port", switch.port)
    taking = [kazoo_rec(*where, "--to", plain, ESL_PASSWORD=switch.password),
              kazoo_rec(*where, "--to", masked, "--mask", "--documents", lab.documents, ESL_PASSWORD=switch.password)]
    until(lambda: plain.exists() and masked.exists(), within_s=30)

    calls = ((alice, "1001", bob), (alice, "442071838750", carrier), (carrier, "15550001001", bob),
             (alice, "*92000", zoe))
    for caller, dials, called in calls:
        call = caller.call(dials)
        talk(call, called.rings().ring().answer(), duration_ms=800)
        until(lambda: not switch.sessions)
    call = alice.call("3200").answered()
    call.hear(800)
    call.hang_up()
    lab.until_rows(lambda row: row["state"] == "recorded")
    made = {(row["call_id"], row["rule"], row["source"]) for row in lab.rows()}
    until(lambda: plain.read_text().count('"CHANNEL_DESTROY"') == masked.read_text().count('"CHANNEL_DESTROY"') == 9)
    for one in taking:
        one.send_signal(signal.SIGINT)
    assert all("9 legs begun" in ended(one) for one in taking)

    of_plain, of_masked = replayed(plain, lab.documents), replayed(masked, f"{masked}.documents")
    assert shape(of_plain) == LEGS
    assert shape(of_masked) == LEGS
    for legs in (of_plain, of_masked):
        assert {(leg["call_id"], one["rule"], one["source"]) for leg in legs for one in leg["recordings"]} == made
    text = masked.read_text()
    text += "".join(file.read_text() for file in (tmp_path / "masked.jsonl.documents").rglob("*.json"))
    for somebody in ("442071838750", "15550001001", "442079460123", "usr-acme", "/calls"):
        assert somebody not in text
    assert (plain.stat().st_mode & 0o777, masked.stat().st_mode & 0o777) == (0o600, 0o600)
