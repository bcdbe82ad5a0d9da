"""A directory of documents: read whole or not at all."""

import pytest

from kazoo_rec.documents.files import fit, place_of, read
from kazoo_rec.errors import DocumentError

GOOD = {
    "acme/account.yaml": "realm: acme.example\ncountry: NO\nnumbers: [+4721000000, 0047 21000001]\n",
    "acme/users/ann.json": '{"call_recording": {"inbound": {"offnet": {"enabled": true}}}}',
    "acme/devices/desk.yml": "owner_id: ann\nsip: {username: 1000}\ncall_recording: {any: {any: {time_limit: 60}}}\n",
}


def written(tmp_path, **changes):
    for name, text in {**GOOD, **changes}.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if text is not None:
            file.write_text(text)
    return tmp_path


def faults(directory):
    with pytest.raises(DocumentError) as raised:
        read(directory)
    return {fault["path"]: fault["message"] for fault in raised.value.faults}


def test_each_file_is_a_document_named_by_its_path(tmp_path):
    rows = {(row["kind"], row["account_id"], row["id"]): row["body"] for row in read(written(tmp_path))}
    assert rows == {
        ("account", "acme", "acme"): {"realm": "acme.example", "country": "NO",
                                      "numbers": ["+4721000000", "0047 21000001"]},
        ("user", "acme", "ann"): {"call_recording": {"inbound": {"offnet": {"enabled": True}}}},
        ("device", "acme", "desk"): {"owner_id": "ann", "sip": {"username": "1000"},
                                     "call_recording": {"any": {"any": {"time_limit": 60}}}},
    }


def test_every_fault_of_every_file_is_told_at_once(tmp_path):
    found = faults(written(tmp_path, **{
        "acme/account.yaml": "realm: [unclosed",
        "acme/users/ann.json": '{"call_recording": {"inbound": {"offnet": {"format": "ogg", "colour": 1}}}}',
        "acme/notes.txt": "hello",
        "acme/users/b b.yaml": "{}",
    }))
    assert set(found) == {"acme/account.yaml", "acme/notes.txt", "acme/users/b b.yaml",
                          "acme/users/ann.json: call_recording.inbound.offnet.format",
                          "acme/users/ann.json: call_recording.inbound.offnet.colour"}
    assert "mp3" in found["acme/users/ann.json: call_recording.inbound.offnet.format"]


@pytest.mark.parametrize(("changes", "path", "told"), [
    ({"acme/users/ann.json": '{"id": "bob"}'}, "acme/users/ann.json: id", "must be 'ann'"),
    ({"acme/users/ann.json": None, "acme/users/bob.json": "{}"}, "acme/devices/desk.yml: owner_id", "no user 'ann'"),
    ({"globex/account.json": '{"realm": "ACME.example"}'}, "globex/account.json: realm", "acme/account.yaml's already"),
    ({"acme/devices/soft.yaml": "sip: {username: 1000}"}, "acme/devices/soft.yaml: sip.username", "desk.yml's already"),
    ({"acme/account.json": "{}"}, "acme/account.yaml", "acme/account.json's already"),
    ({"globex/users/x.yaml": "{}"}, "globex/users/x.yaml", "no account globex"),
    ({"acme/users/ann.json": "[1]"}, "acme/users/ann.json", "object"),
    ({"acme/users/ann.json": "{"}, "acme/users/ann.json", "Expecting"),
    ({"globex/account.json": '{"country": "NO", "numbers": ["21000000"]}'}, "globex/account.json: numbers",
     "acme/account.yaml's already"),
    ({"globex/account.json": '{"realm": "g.example"}', "acme/devices/x.yaml": "sip: {username: 7, realm: g.example}"},
     "acme/devices/x.yaml: sip.realm", "is globex/account.json's already"),
    ({"acme/users/bob.yaml": "note: &a [*a, *a]"}, "acme/users/bob.yaml", "an alias (*) is not taken"),
    ({"acme/users/bob.yaml": "note: !!timestamp 2020-01-01"}, "acme/users/bob.yaml", "a tag"),
    ({"acme/users/bob.yaml": "[" * 5000}, "acme/users/bob.yaml", "nested too deep"),
])
def test_documents_that_cannot_be_right_are_told_with_file_and_field(tmp_path, changes, path, told):
    assert told in faults(written(tmp_path, **changes))[path]


def test_a_directory_that_is_not_there_is_a_fault_and_not_an_empty_one(tmp_path):
    assert faults(tmp_path / "nowhere") == {str(tmp_path / "nowhere"): "no such directory"}


def test_an_empty_directory_is_a_fault_as_it_would_delete_every_document(tmp_path):
    assert "holds no document" in faults(tmp_path)[str(tmp_path)]


def test_what_is_written_where_place_of_says_is_read_again(tmp_path):
    for kind, name in (("account", "acme"), ("user", "ann"), ("device", "desk")):
        file = tmp_path / place_of(kind, "acme", name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
    assert {(row["kind"], row["id"]) for row in read(tmp_path)} == {
        ("account", "acme"), ("user", "ann"), ("device", "desk")}


def test_a_password_is_not_taken_from_a_file(tmp_path):
    [(path, message)] = faults(written(tmp_path, **{"acme/users/ann.json": '{"password": "geheim"}'})).items()
    assert path == "acme/users/ann.json: password" and "token create" in message and "geheim" not in message


def made(kind, account, name, **body):
    return {"kind": kind, "account_id": account, "id": name, "body": body, "source": None}


GLOBEX = made("account", "globex", "globex", realm="globex.example", numbers=["+15550001001"])


@pytest.mark.parametrize(("account", "others", "told"), [
    ("realm: GLOBEX.example", [GLOBEX], ("acme/account.yaml: realm", "globex")),
    ('country: US\nnumbers: ["555-000-1001"]', [GLOBEX], ("acme/account.yaml: numbers", "globex")),
    ("realm: a.example", [GLOBEX, made("device", "globex", "d", sip={"username": "1", "realm": "A.example"})],
     ("device d of account globex, made over the API: sip.realm", "acme/account.yaml")),
    ("realm: a.example", [made("device", "acme", "d", owner_id="bob")],
     ("device d of account acme, made over the API: owner_id", "bob")),
    ("realm: a.example", [made("user", "initech", "u")],
     ("user u of account initech, made over the API", "initech")),
])
def test_files_and_the_api_cannot_both_have_one_thing(tmp_path, account, others, told):
    rows = read(written(tmp_path, **{"acme/account.yaml": account}))
    with pytest.raises(DocumentError) as raised:
        fit(rows, others)
    [fault] = raised.value.faults
    assert fault["path"] == told[0] and told[1] in fault["message"]


def test_what_is_wrong_between_documents_of_the_api_keeps_no_file_out(tmp_path):
    fit(read(written(tmp_path)), [GLOBEX, *(made("device", "globex", name, sip={"username": "1"}) for name in "de")])
