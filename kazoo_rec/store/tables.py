"""The tables. Times are milliseconds since the epoch (UTC); JSON columns hold what the code that wrote them says.

`change` is one row: its `seq` grows with every change of a document, in the change's own transaction, so that
`seq` follows the order of commits and a reader that asks for what is above its last misses nothing.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    text,
)

metadata = MetaData()

#: Of rows that are numbered; SQLite numbers no other.
_Number = BigInteger().with_variant(Integer, "sqlite")


def _where(condition):
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


change = Table(
    "change", metadata,
    Column("id", Integer, primary_key=True),
    Column("seq", BigInteger, nullable=False),
)

documents = Table(
    "documents", metadata,
    Column("kind", Text, primary_key=True),
    Column("account_id", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("body", JSON, nullable=False),
    Column("source", Text),
    Column("deleted", Boolean, nullable=False, default=False),
    Column("seq", BigInteger, nullable=False, index=True),
    Column("created_ms", BigInteger, nullable=False),
    Column("modified_ms", BigInteger, nullable=False),
    Index("documents_of_account", "account_id", "kind", "id"),
)

recordings = Table(
    "recordings", metadata,
    Column("id", Text, primary_key=True),
    Column("node", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("user_id", Text),
    Column("device_id", Text),
    Column("call_id", Text, nullable=False),
    Column("interaction_id", Text, nullable=False),
    Column("leg", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("settings_from", JSON, nullable=False),
    Column("source", Text, nullable=False),
    Column("destination", Text),
    Column("direction", Text, nullable=False),
    Column("from_uri", Text, nullable=False),
    Column("to_uri", Text, nullable=False),
    Column("caller_id_name", Text, nullable=False),
    Column("caller_id_number", Text, nullable=False),
    Column("callee_id_name", Text, nullable=False),
    Column("callee_id_number", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("state_reason", Text),
    Column("master", Text, nullable=False),
    Column("armed_ms", BigInteger),
    Column("answered_ms", BigInteger),
    Column("started_ms", BigInteger),
    Column("stopped_ms", BigInteger),
    Column("expected_ms", BigInteger),
    Column("spans", JSON, nullable=False, default=list),
    Column("cause", Text),
    Column("truncated_by_limit", Boolean, nullable=False, default=False),
    Column("partial", Boolean, nullable=False, default=False),
    Column("duration_ms", BigInteger),
    Column("file", Text),
    Column("content_type", Text),
    Column("size_bytes", BigInteger),
    Column("sha256", Text),
    Column("channels", Integer),
    Column("sample_rate", Integer),
    Column("data_key", Text),
    Column("label", Text),
    Column("legal_hold", Boolean, nullable=False, default=False),
    Column("delete_requested_ms", BigInteger),
    Column("deleted_by", Text),
    Column("audio_removed_ms", BigInteger),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Index("recordings_by_state", "node", "state", "stopped_ms"),
    Index("recordings_of_account", "account_id", "created_ms", "id"),
    Index("recordings_of_user", "account_id", "user_id", "created_ms", "id"),
    Index("recordings_of_leg", "call_id"),
    # The condition is that of `Recordings.to_delete`, or SQLite does not use it.
    Index("recordings_to_delete", "node", "delete_requested_ms",
          **_where("delete_requested_ms IS NOT NULL AND state != 'deleted'")),
    # The condition is that of `Recordings.on_disk`.
    Index("recordings_on_disk", "node", "stopped_ms", "id",
          **_where("state = 'recorded' AND audio_removed_ms IS NULL")),
    Index("recordings_by_interaction", "interaction_id"),
    # The condition is that of `Recordings.stopped`: what each account has waiting, apart from what is done.
    Index("recordings_stopped", "node", "state", "account_id", "stopped_ms",
          **_where("state = 'stopped'")),
)

deliveries = Table(
    "deliveries", metadata,
    Column("id", _Number, primary_key=True),
    Column("recording_id", Text, ForeignKey("recordings.id"), nullable=False, index=True),
    Column("node", Text, nullable=False),
    Column("account_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_attempt_ms", BigInteger, nullable=False),
    Column("give_up_ms", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("last_error", Text),
    Column("status", Integer),
    Column("etag", Text),
    Column("proof_sha256", Text),
    Column("delivered_ms", BigInteger),
    # Of the kind "library": what is to be there. An upload's are the recording's.
    Column("size_bytes", BigInteger),
    Column("sha256", Text),
    # The condition is that of `Deliveries.due`.
    Index("deliveries_due", "node", "state", "account_id", "host", "next_attempt_ms",
          **_where("state = 'due'")),
    Index("deliveries_given_up", "node", "state", "recording_id", **_where("state = 'failed'")),
)

#: Servers that took nothing of an account's when they were last asked, and are not asked again before `rests_until_ms`.
failing_servers = Table(
    "failing_servers", metadata,
    Column("node", Text, primary_key=True),
    Column("account_id", Text, primary_key=True),
    Column("host", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("rests_until_ms", BigInteger, nullable=False),
)

#: One row: the id of the key that the database is sealed by (`store/secrets.py`).
sealing = Table(
    "sealing", metadata,
    Column("id", Integer, primary_key=True),
    Column("key_id", Text, nullable=False),
)

#: What a document is found by: `what` is name, realm, number, username…, `text` as the document has it, `key` what of
#: it is looked up.
document_keys = Table(
    "document_keys", metadata,
    Column("kind", Text, primary_key=True),
    Column("account_id", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("what", Text, primary_key=True),
    Column("text", Text, primary_key=True),
    Column("key", Text, nullable=False),
    Index("document_keys_by_key", "what", "key"),
)

#: Engines that run, each with the `seq` up to which it has read the documents, where other hosts reach it
#: ("host:port"), and the names of its switches.
engines = Table(
    "engines", metadata,
    Column("name", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
    Column("address", Text),
    Column("switches", JSON),
)

#: How each role of each node was when it last said so: JSON of its own.
vitals = Table(
    "vitals", metadata,
    Column("node", Text, primary_key=True),
    Column("role", Text, primary_key=True),
    Column("said_ms", BigInteger, nullable=False),
    Column("state", JSON, nullable=False),
)

#: The mark of each node's recordings directory (`delivery/mark.py`).
directories = Table(
    "directories", metadata,
    Column("node", Text, primary_key=True),
    Column("mark", Text, nullable=False),
)

#: From when until when a switch (`node`) was not heard; `until_ms` None: it still is not.
outages = Table(
    "outages", metadata,
    Column("id", _Number, primary_key=True),
    Column("node", Text, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("until_ms", BigInteger),
    Column("why", Text, nullable=False),
    Index("outages_by_time", "since_ms"),
)

#: `hash` is SHA-256 of the token itself, which is kept nowhere. `methods` and `paths` None: all that the role may.
#: `parent` is what a token from a log-in stands on: the id of a key, or the hash of a user's credentials.
tokens = Table(
    "tokens", metadata,
    Column("id", Text, primary_key=True),
    Column("hash", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("account_id", Text),
    Column("user_id", Text),
    Column("methods", JSON),
    Column("paths", JSON),
    Column("made_by", Text, nullable=False),
    Column("parent", Text),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger),
    Column("revoked_ms", BigInteger),
)

#: URLs that play one recording, in one presentation, without a token; `hash` as in `tokens`.
links = Table(
    "links", metadata,
    Column("id", Text, primary_key=True),
    Column("hash", Text, nullable=False, unique=True),
    Column("account_id", Text, nullable=False),
    Column("recording_id", Text, ForeignKey("recordings.id"), nullable=False, index=True),
    Column("format", Text, nullable=False),
    Column("channels", Text, nullable=False),
    Column("track", Text, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
)

#: What users log in with: scrypt of Kazoo's credentials hash, salted by account, so that one computation finds whose.
credentials = Table(
    "credentials", metadata,
    Column("account_id", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("method", Text, primary_key=True),
    Column("hash", Text, nullable=False),
    Index("credentials_by_hash", "account_id", "hash"),
)

#: Only added to; the database refuses to change or delete a row. `sent` is the presentation that was played.
audit = Table(
    "audit", metadata,
    Column("id", _Number, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("account_id", Text),
    Column("who", Text, nullable=False),
    Column("user_id", Text),
    Column("remote", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("sent", Text),
    Column("request_id", Text, nullable=False),
    Index("audit_of_account", "account_id", "id"),
)
