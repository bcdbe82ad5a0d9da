import pytest

from kazoo_rec.doctor import documents
from tests.doctor.conftest import only

ACCOUNT = {"realm": "acme.example", "call_recording": {"account": {"any": {"any": {"url": "https://a.example/x"}}}}}


def row(kind="account", document_id="acme", body=None, **more):
    return {"kind": kind, "account_id": "acme", "id": document_id, "body": body or {}, "source": "f", "deleted": False,
            "seq": 1, **more}


def test_a_directory_without_a_fault_is_well(deployment):
    rows, found = documents.read(deployment.documents)
    assert len(rows) == 1 and only(found, "documents").state == "ok"


def test_each_fault_is_told_with_its_file_and_place(deployment):
    deployment.write("acme/users/u", {"call_recording": {"any": {"any": {"enabled": "perhaps"}}}})
    deployment.write("acme/devices/d", {"owner_id": "nobody", "sip": 5})
    rows, found = documents.read(deployment.documents)
    assert rows is None and {one.state for one in found} == {"wrong"} and len(found) == 2
    assert "acme/devices/d.json: sip" in found[0].seen and "acme/users/u.json: call_recording" in found[1].seen


def test_a_directory_of_faults_does_not_fill_the_screen(deployment):
    for number in range(25):
        deployment.write(f"acme/users/u{number}", {"call_recording": 5})
    _, found = documents.read(deployment.documents)
    assert len(found) == 21 and "5 faults more" in found[-1].seen


def test_a_directory_that_is_not_there_is_wrong(tmp_path):
    rows, (found,) = documents.read(tmp_path / "none")
    assert rows is None and found.state == "wrong" and "no such directory" in found.seen


@pytest.mark.parametrize("in_store, rows, state", [
    ([row()], [row()], "ok"), ([row()], None, "ok"), ([], [row()], "warning"), ([row(deleted=True)], None, "warning"),
    ([row()], [row(body={"realm": "x"})], "warning"), ([row()], [row(), row("user", "u")], "warning"),
    ([row(), row("user", "u")], [row()], "warning"), ([row(), row("user", "by-api", source=None)], [row()], "ok"),
])
def test_the_store_is_compared_with_the_directory(in_store, rows, state):
    assert only(documents.stored(in_store, rows), "documents").state == state


def test_every_url_is_found_with_whose_it_is():
    user = {"call_recording": {"inbound": {"offnet": {"url": "http://b/"}}}, "record_call": {"url": "http://c/"}}
    found = list(documents.urls([row(body=ACCOUNT), row("user", "u", user), row("device", "d", {"url": "http://no/"})]))
    assert found == [("https://a.example/x", "account acme"), ("http://b/", "user u"), ("http://c/", "user u")]
