"""By what documents are found that could clash, and accounts at a log-in: `document_keys`, kept with every change."""


from sqlalchemy import and_, delete, insert, select

from kazoo_rec.store.sql import among
from kazoo_rec.store.tables import document_keys, documents

#: Digits of a number's end that are compared: all national forms of it have them.
_LAST_DIGITS = 5

#: What is one's own only within an account.
_WITHIN_ACCOUNT = ("username", "callflow_number")

_KEYS = document_keys.c


def key_of(what: str, text: str) -> str:
    """What a text is looked up by: its last digits, if it is a number; else itself without case and blanks."""
    if what == "number":
        return "".join(filter(str.isdecimal, text))[-_LAST_DIGITS:]
    return "".join(text.lower().split())


def index(connection, rows):
    """Makes the keys of `rows` what they say now; one that is deleted says nothing."""
    for row in rows:
        this = and_(_KEYS.kind == row["kind"], _KEYS.account_id == row["account_id"], _KEYS.id == row["id"])
        known = {tuple(one) for one in connection.execute(select(_KEYS.what, _KEYS.text).where(this))}
        said = set() if row["deleted"] else _said(row)
        for what, text in known - said:
            connection.execute(delete(document_keys).where(this, _KEYS.what == what, _KEYS.text == text))
        if said - known:
            connection.execute(insert(document_keys), [
                {"kind": row["kind"], "account_id": row["account_id"], "id": row["id"], "what": what, "text": text,
                 "key": key_of(what, text)} for what, text in said - known])


def rivals(connection, row: dict) -> list[dict]:
    """All that a document could clash with, its account and its owner, as rows; of an account only its realm, its
    country and those of its numbers that could be the document's."""
    wanted: dict[str, set] = {}
    for what, text in _said(row):
        wanted.setdefault(what, set()).add(key_of(what, text))
    wanted.pop("name", None)
    numbers: dict[str, list] = {row["account_id"]: []}
    others = {}
    for what, keys in wanted.items():
        of_key = and_(_KEYS.what == what, _KEYS.key.in_(among(keys)))
        if what in _WITHIN_ACCOUNT:
            of_key &= _KEYS.account_id == row["account_id"]
        else:
            for account_id, text in connection.execute(select(_KEYS.account_id, _KEYS.text).where(
                    of_key, _KEYS.kind == "account")):
                numbers.setdefault(account_id, []).extend([text] if what == "number" else [])
        if what != "realm" or row["kind"] == "account":
            # A realm's own account may have thousands of devices in it, and none of them clashes with it.
            more = [documents.c.account_id != row["account_id"]] if what == "realm" else []
            query = select(documents).join(document_keys, and_(
                documents.c.kind == _KEYS.kind, documents.c.account_id == _KEYS.account_id,
                documents.c.id == _KEYS.id)).where(of_key, _KEYS.kind != "account", *more)
            others |= {(one["kind"], one["account_id"], one["id"]): dict(one)
                       for one in connection.execute(query).mappings()}
    if row["kind"] == "device" and row["body"].get("owner_id"):
        others |= {("user", row["account_id"], one["id"]): dict(one) for one in connection.execute(
            select(documents).where(documents.c.kind == "user", documents.c.account_id == row["account_id"],
                                    documents.c.id == row["body"]["owner_id"],
                                    documents.c.deleted.is_(False))).mappings()}
    for _, account_id, _ in others:
        numbers.setdefault(account_id, [])
    found = [*_accounts(connection, numbers), *others.values()]
    return [one for one in found if any(one[name] != row[name] for name in ("kind", "account_id", "id"))]


def _accounts(connection, numbers):
    known = documents.c
    realm, country = (known.body[name].as_string() for name in ("realm", "country"))
    for account_id, *values in connection.execute(select(known.id, realm, country).where(
            known.kind == "account", known.account_id.in_(among(numbers)), known.id == known.account_id,
            known.deleted.is_(False))):
        said = {name: value for name, value in zip(("realm", "country"), values, strict=True) if value is not None}
        yield {"kind": "account", "account_id": account_id, "id": account_id,
               "body": {**said, "numbers": numbers[account_id]}}


def _said(row):
    body, sip = row["body"], row["body"].get("sip") or {}
    said = {
        "account": lambda: [("name", body.get("name")), ("realm", body.get("realm")),
                            *(("number", number) for number in body.get("numbers") or ())],
        "user": lambda: [("username", body.get("username"))],
        "device": lambda: [("sip_username", sip.get("username")), ("realm", sip.get("realm"))],
        "callflow": lambda: [("callflow_number", number) for number in body.get("numbers") or ()],
    }[row["kind"]]()
    return {(what, text) for what, text in said if text and isinstance(text, str)}
