"""A directory of JSON or YAML files, one document each:

    <account id>/account.yaml
    <account id>/users/<user id>.yaml
    <account id>/devices/<device id>.yaml
    <account id>/callflows/<callflow id>.yaml

Ids come from the names, and an `id` in the file must agree.
"""

import json
import re
from pathlib import Path

import yaml

from kazoo_rec.documents.clashes import clashes
from kazoo_rec.documents.schema import check
from kazoo_rec.errors import DocumentError
from kazoo_rec.store.secrets import forged

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KINDS = {"users": "user", "devices": "device", "callflows": "callflow"}
_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "bool", "null")}
_SUFFIXES = (".json", ".yaml", ".yml")


class _TextLoader(yaml.SafeLoader):
    """YAML in which only true, false and null are not text: 0044… keeps its zeros, and NO stays a country."""


    def compose_node(self, parent, index):
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("an alias (*) is not taken: write the value again")
        return super().compose_node(parent, index)

    def construct_object(self, node, deep=False):
        if node.tag not in _TAGS:
            raise yaml.YAMLError(f"a tag ({node.tag[:40]!r}) is not taken: plain values, lists and mappings are")
        return super().construct_object(node, deep)


_TextLoader.yaml_implicit_resolvers = {}
_TextLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_TextLoader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:null|~|)$"), ["n", "~", ""])


def read(directory: Path) -> list[dict]:
    """Every document below `directory`, checked, as rows for `store.documents.take_files`.

    Raises DocumentError with every fault of every file: nothing is taken from a directory that has one, nor from one
    without a document, which would delete them all.
    """
    if not directory.is_dir():
        raise DocumentError("the documents cannot be read", [{"path": str(directory), "message": "no such directory"}])
    rows, faults = [], []
    if not any(path.suffix in _SUFFIXES for path in directory.rglob("*")):
        faults = [{"path": str(directory), "message": "holds no document: is it mounted?"}]
    for file in sorted(path for path in directory.rglob("*") if path.is_file() and not path.name.startswith(".")):
        name = file.relative_to(directory).as_posix()
        place = _place(file.relative_to(directory))
        if place is None:
            faults.append({"path": name, "message": "is none of <account>/account, <account>/users/<user>, "
                           "<account>/devices/<device> and <account>/callflows/<callflow>, ending in .json, .yaml or "
                           ".yml; ids are [A-Za-z0-9_-]{1,64}"})
            continue
        kind, account_id, document_id = place
        try:
            body = parse(file.read_bytes(), file.suffix == ".json")
        except ValueError as broken:
            faults.append({"path": name, "message": str(broken)})
            continue
        except OSError as unreadable:
            faults.append({"path": name, "message": unreadable.strerror})
            continue
        body, found = check(kind, body)
        if not found and (place := forged(body)):
            found = [{"path": place, "message": "looks sealed: user and password are said in clear"}]
        if kind == "user" and not found and "password" in body:
            found = [{"path": "password", "message": "is not taken from a file, in which others read it: make the user "
                      "over the API, or a token for him (kazoo-rec token create)"}]
        if not found and body.get("id", document_id) != document_id:
            found = [{"path": "id", "message": f"must be {document_id!r}, as the file's name says"}]
        faults += [{"path": f"{name}: {fault['path']}" if fault["path"] else name, "message": fault["message"]}
                   for fault in found]
        rows.append({"kind": kind, "account_id": account_id, "id": document_id, "body": body, "source": name})
    faults += [] if faults else map(_told, clashes(rows))
    if faults:
        raise DocumentError(f"the documents in {directory} have {len(faults)} fault(s)", faults)
    return rows


def fit(found: list[dict], others: list[dict]):
    """Raises DocumentError with every fault, where documents of files and `others`, which were made over the API,
    cannot both be."""
    theirs = {id(row) for row in others}
    faults = [clash for clash in clashes([*others, *found])
              if clash["rival"] is None or {id(clash["row"]), id(clash["rival"])} - theirs]
    if faults:
        raise DocumentError(f"the documents of files and those of the API have {len(faults)} fault(s)",
                            list(map(_told, faults)))


def place_of(kind: str, account_id: str, document_id: str) -> Path:
    """Where a document's file belongs, below the directory of documents."""
    if kind == "account":
        return Path(account_id, "account.json")
    return Path(account_id, next(name for name, known in _KINDS.items() if known == kind), f"{document_id}.json")


def parse(content: bytes, is_json: bool):
    """The content of a file, JSON or YAML. Raises ValueError, saying where it is broken."""
    text = content.decode("utf-8")
    try:
        return json.loads(text) if is_json else yaml.load(text, _TextLoader)
    except yaml.YAMLError as broken:
        for name in ("context_mark", "problem_mark"):
            if mark := getattr(broken, name, None):
                mark.buffer = None  # the line itself, which may have a password in it, is not shown
        raise ValueError(" ".join(str(broken).split())) from broken
    except RecursionError:
        raise ValueError("is nested too deep") from None


def _place(path: Path):
    parts = (*path.parts[:-1], path.stem)
    if path.suffix not in _SUFFIXES or not all(_ID.fullmatch(part) for part in parts):
        return None
    if len(parts) == 2 and parts[1] == "account":
        return "account", parts[0], parts[0]
    if len(parts) == 3 and parts[1] in _KINDS:
        return _KINDS[parts[1]], parts[0], parts[2]
    return None


def _told(clash) -> dict:
    source, field, message, rival = _source(clash["row"]), clash["field"], clash["message"], clash["rival"]
    return {"path": f"{source}: {field}" if field else source,
            "message": f"{message} is {_source(rival)}'s already" if rival else message}


def _source(row) -> str:
    return row["source"] or f"{row['kind']} {row['id']} of account {row['account_id']}, made over the API"
