"""Documents: accounts, users, devices and callflows, as Crossbar serves them."""

import uuid

import gevent
import orjson

from kazoo_rec.api import tokens
from kazoo_rec.api.body import LARGEST_BODY_BYTES, data_of, expect, too_large
from kazoo_rec.api.envelope import ApiError, changed_meanwhile, conflict, invalid, not_found, succeed
from kazoo_rec.api.listing import filter_of, key_for, page_size_of, start_key_of
from kazoo_rec.api.validation import checked, unforged
from kazoo_rec.documents.clashes import clashes
from kazoo_rec.errors import DocumentChanged, DocumentFromFile
from kazoo_rec.store.urls import masked, restored

#: In a path, and the kind of document that it is.
KINDS = {"users": "user", "devices": "device", "callflows": "callflow"}

#: What a list shows of a document, where it has it (as Crossbar's views do).
SUMMARY = ("id", "name", "realm", "username", "first_name", "last_name", "email", "priv_level", "device_type", "mac",
           "owner_id", "enabled", "numbers", "patterns", "featurecode", "call_recording")

#: Seconds within which engines confirm that they obey a change; then the answer names those that have not.
OBEYED_WITHIN_S, LOOK_S = 1.0, 0.01

#: How often a PATCH is made anew, when others change the same document at the same time.
ATTEMPTS = 5

#: Documents read at once for a list with filters.
CHUNK = 500

READERS, WRITERS = {"admin", "user"}, {"admin"}


class Documents:
    """A kind of document of an account; `kind` "account" is the list of all accounts. `editor` is an `Editor`."""

    def __init__(self, kind: str, store, editor):
        self._kind, self._store, self._editor = kind, store, editor
        self.roles = {"GET": READERS, "PUT": WRITERS} if kind != "account" else {}

    def on_get(self, request, response, account_id=None):
        self._editor.account(account_id)
        size, after, wanted = page_size_of(request), start_key_of(request), filter_of(request)
        token, found = request.context.token, []
        while len(found) <= size:
            rows = self._store.documents.page(self._kind, account_id, after, CHUNK)
            found += [row for row in rows if wanted(row) and may_see(token, row)]
            if len(rows) < CHUNK:
                break
            after = rows[-1]["id"]
        more = {"next_start_key": key_for(found[size - 1]["id"])} if len(found) > size else {}
        started = {"start_key": request.get_param("start_key")} if request.get_param("start_key") else {}
        succeed(request, response, [_summary(row) for row in found[:size]], page_size=len(found[:size]), **started,
                **more)

    def on_put(self, request, response, account_id=None):
        data = unforged(data_of(request))
        document_id = uuid.uuid4().hex
        account_id = account_id or document_id
        if self._kind != "account":
            self._editor.account(account_id)
        self._editor.create(request, response, (self._kind, account_id, document_id), data)


class Document:
    """One document."""

    def __init__(self, kind: str, store, editor):
        self._kind, self._store, self._editor = kind, store, editor
        self.roles = {"GET": READERS, "POST": WRITERS, "PATCH": WRITERS, "DELETE": WRITERS}
        if kind == "account":
            self.roles["DELETE"] = set()

    def on_get(self, request, response, account_id, document_id=None):
        row = self._row(request, account_id, document_id)
        succeed(request, response, shown(row), revision=row["seq"])

    def on_post(self, request, response, account_id, document_id=None):
        data = unforged(data_of(request))
        self._editor.change(request, response, self._place(account_id, document_id), lambda _body: data)

    def on_patch(self, request, response, account_id, document_id=None):
        data = unforged(data_of(request))
        self._editor.change(request, response, self._place(account_id, document_id), lambda body: merged(body, data))

    def on_delete(self, request, response, account_id, document_id=None):
        self._editor.remove(request, response, self._place(account_id, document_id))

    def _place(self, account_id, document_id):
        return self._kind, account_id, document_id or account_id

    def _row(self, request, account_id, document_id):
        row = self._store.documents.get(*self._place(account_id, document_id))
        if row is None or not may_see(request.context.token, row):
            raise not_found(document_id or account_id)
        return row


class Editor:
    """Changes of documents, checked, and obeyed by every engine when the answer is given.

    Parameters: the store; `run(function, args)` on a thread, for what takes milliseconds.
    """

    def __init__(self, store, run):
        self._store, self._run = store, run

    def account(self, account_id):
        """Raises ApiError where there is no such account."""
        if account_id is not None and self._store.documents.get("account", account_id, account_id) is None:
            raise not_found(account_id)

    def create(self, request, response, place, data):
        """A new document, 201."""
        row = self._write(request.context.token, place, data, None)
        response.set_header("Location", f"{request.path.rstrip('/')}/{row['id']}")
        self._answer(request, response, row, 201)

    def change(self, request, response, place, make):
        """The document that there is becomes `make(its body)`; made anew where somebody else was faster, unless the
        client said by If-Match, or `revision` in the body, which one it means."""
        for _ in range(ATTEMPTS):
            row = self._store.documents.get(*place)
            if row is None:
                raise not_found(place[2])
            expect(request, row["seq"])
            try:
                row["body"] = self._store.secrets.open_known(row["body"])
                written = self._write(request.context.token, place, make(row["body"]), row)
                return self._answer(request, response, written, 200)
            except DocumentChanged:
                continue
        raise changed_meanwhile()

    def remove(self, request, response, place):
        row = self._store.documents.get(*place)
        if row is None:
            raise not_found(place[2])
        expect(request, row["seq"])
        try:
            self._store.documents.remove(*place, row["seq"]).get()
        except DocumentFromFile as of_file:
            raise _of_file(of_file) from None
        except DocumentChanged:
            raise changed_meanwhile() from None
        row["body"] = {**row["body"], "_read_only": {"deleted": True}}
        self._answer(request, response, row, 200)

    def _write(self, token, place, data, before):
        kind, account_id, document_id = place
        try:
            data = restored(data, before["body"] if before else {})
        except LookupError as unknown:
            raise invalid(str(unknown), "masked", "User and password are not known here: say them again") from None
        body = {**self._run(checked, (kind, data)), "id": document_id}
        body.pop("_read_only", None)
        if len(orjson.dumps(body)) > LARGEST_BODY_BYTES:
            raise too_large("the document")
        _check_rights(token, kind, body, before)
        secrets = self._secrets(account_id, body, before) if kind == "user" else None
        row = {"kind": kind, "account_id": account_id, "id": document_id, "body": body}
        # Once outside of the transaction, where comparing thousands of numbers holds nobody up; it keeps their forms.
        self._run(_check_clashes, (row, self._store.documents.rivals(row)))
        try:
            return self._store.documents.put(row, before and before["seq"], _check_clashes, secrets).get()
        except DocumentFromFile as of_file:
            raise _of_file(of_file) from None

    def _secrets(self, account_id, body, before):
        """What a user's new password becomes in the store; it is not kept in the document. None: nothing changes."""
        password, username = body.pop("password", None), body.get("username")
        if password is None:
            if before is not None and username != before["body"].get("username") and self._store.access.may_log_in(
                    account_id, before["id"]):
                raise invalid("password", "required", "The password must be provided when updating the user name")
            return None
        for name, value in (("username", username), ("password", password)):
            if not isinstance(value, str) or not value:
                raise invalid(name, "required", "Field is required but missing")
        hashes = tokens.credentials_hashes(body["username"], password)
        return {method: self._run(tokens.credentials_key, (account_id, value)) for method, value in hashes.items()}

    def _answer(self, request, response, row, status):
        behind = self._wait_for_engines(row["seq"])
        succeed(request, response, shown(row), status, revision=row["seq"],
                **({"not_yet_obeyed_by": behind} if behind else {}))

    def _wait_for_engines(self, seq):
        """Names of those that did not confirm in time."""
        with gevent.Timeout(OBEYED_WITHIN_S, False):
            while self._store.engines.behind(seq):
                gevent.sleep(LOOK_S)
        return self._store.engines.behind(seq)


def merged(body: dict, change: dict) -> dict:
    """`change` laid over `body`: null takes a key away, at any depth; lists replace; an empty object empties (Kazoo,
    crossbar_doc.erl, patch_the_doc)."""
    result = dict(body)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and value and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        elif isinstance(value, dict):
            result[key] = merged({}, value)
        else:
            result[key] = value
    return result


def may_see(token: dict, row: dict) -> bool:
    """A user sees himself and what he owns, others all of their account."""
    if token["role"] != "user":
        return True
    return token["user_id"] in ((row["id"],) if row["kind"] == "user" else (row["body"].get("owner_id"),))


def shown(row: dict) -> dict:
    """A document as the API shows it, without users and passwords of URLs; `_read_only.source` names the file that has
    it."""
    source = {"_read_only": {"source": row["source"]}} if row.get("source") else {}
    return {**masked(row["body"]), "id": row["id"], **source}


def _summary(row):
    whole = shown(row)
    return {name: whole[name] for name in SUMMARY if name in whole}


def _check_rights(token, kind, body, before):
    """Raises ApiError where an account's own admin would say whose calls are whose: with them, another's would be
    recorded for him."""
    said = body if kind == "account" else body.get("sip") or {}
    earlier = before["body"] if before else {}
    known = earlier if kind == "account" else earlier.get("sip") or {}
    names = {"account": ("realm", "numbers", "name"), "device": ("realm",)}.get(kind, ())
    changed = [name for name in names if said.get(name) != known.get(name)]
    if changed and token["role"] != "superadmin":
        raise ApiError(403, "forbidden", {"message": f"{', '.join(changed)}: only a superadmin says this"})


def _check_clashes(row, rivals):
    for clash in clashes([*rivals, row]):
        if clash["row"] is row or clash["rival"] is row:
            taken = " is taken" if clash["rival"] else ""
            raise invalid(clash["field"] or "id", "unique" if clash["rival"] else "not_found",
                          clash["message"] + taken)


def _of_file(of_file):
    return conflict(f"the document comes from the file {of_file.file}, which alone may change it")
