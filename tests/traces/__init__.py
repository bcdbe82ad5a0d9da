"""Event-socket traffic of FreeSWITCH 1.10.12 (git a88d069), one scenario a file.

A line is `{"t", "of", "event", "gone"?}`, `{"t", "t_reply", "command", "reply"}` or `{"t", "note"}`; `t` is in seconds
since the scenario began, when the line was read from the socket (for a command, when it was sent; `conn` tells
connections apart). Of an event only what differs from the one before with the same Unique-ID (`of`) is written, `gone`
names the headers that it no longer has. CHANNEL_EXECUTE_COMPLETE, and headers that say where in FreeSWITCH's source an
event was made or repeat an SDP, were left out; of record_armed
and nasty_caller_id also the events that nobody here listens to. Bytes that are not UTF-8 are lone surrogates.

nasty_caller_id.plain has, of the same calls read by `event plain`, what each CHANNEL_CREATE says of the caller, to the
byte.
"""

import json
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent

#: Every scenario.
SCENARIOS = tuple(sorted(file.stem for file in HERE.glob("*.jsonl")))


def lines(scenario: str) -> Iterator[dict]:
    """The lines of a scenario in order, each event whole."""
    last: dict[str, dict] = {}
    with open(HERE / f"{scenario}.jsonl", encoding="utf-8") as file:
        for line in map(json.loads, file):
            if "event" in line:
                of = line.pop("of")
                gone = line.pop("gone", ())
                before = {name: value for name, value in last.get(of, {}).items() if name not in gone}
                line["event"] = last[of] = {**before, **line["event"]}
            yield line


def events(scenario: str) -> Iterator[dict]:
    """The headers of its events, in order."""
    return (line["event"] for line in lines(scenario) if "event" in line)


def documents(body: dict) -> list[dict]:
    """The documents of expected.yaml, {"acme/users/u1000": body}, as `documents.files.read` gives them."""
    kinds = {"users": "user", "devices": "device"}
    rows = []
    for name, one in body.items():
        account, kind, *rest = name.split("/")
        rows.append({"kind": kinds.get(kind, "account"), "account_id": account, "id": rest[0] if rest else account,
                     "body": one, "source": name})
    return rows
