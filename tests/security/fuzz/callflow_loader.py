"""Callflow documents: taken and then runnable by any number, or refused with every fault told in short lines."""

from kazoo_rec.documents.callflows import Callflows, compiled
from kazoo_rec.documents.files import parse
from kazoo_rec.documents.schema import check

NUMBERS = ("1", "*97", "+442071838750", "0" * 36, "5551001" * 5, "no_match", "", "x" * 40, "1\n", "٣")


def one(data: bytes):
    if not data:
        return
    try:
        body = parse(data[1:], is_json=bool(data[0] & 1))
    except ValueError as broken:
        assert "\n" not in str(broken)
        return
    try:
        body, faults = check("callflow", body)
    except RecursionError as endless:
        raise AssertionError("nested without end") from endless
    for fault in faults:
        assert set(fault) == {"path", "message"}
        assert len(fault["message"]) < 2_000
    if faults:
        return
    for pattern in body.get("patterns") or ():
        compiled(pattern)
    flows = Callflows({"one": body})
    for number in NUMBERS:
        flows.match(number)
