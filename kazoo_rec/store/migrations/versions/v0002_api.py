"""For the API: times of documents, deletion of recordings, tokens, the audit log, engines."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade():
    for column in ("created_ms", "modified_ms"):
        op.add_column("documents", sa.Column(column, sa.BigInteger(), nullable=False, server_default="0"))
    op.create_index("documents_of_account", "documents", ["account_id", "kind", "id"], unique=False)
    for column in (sa.Column("label", sa.Text()),
                   sa.Column("legal_hold", sa.Boolean(), nullable=False, server_default=sa.false()),
                   sa.Column("delete_requested_ms", sa.BigInteger()), sa.Column("deleted_by", sa.Text())):
        op.add_column("recordings", column)
    op.drop_index("recordings_by_account", "recordings")
    op.create_index("recordings_of_account", "recordings", ["account_id", "created_ms", "id"], unique=False)
    op.create_index("recordings_to_delete", "recordings", ["node", "delete_requested_ms"], unique=False)
    if op.get_bind().dialect.name == "sqlite":  # nothing else has documents of before
        # The API shows documents; what a user logs in with is kept as hashes alone.
        op.execute("UPDATE documents SET body = json_remove(body, '$.password') WHERE kind = 'user'")
    keys = op.create_table(
        "document_keys",
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("account_id", sa.Text(), primary_key=True),
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("what", sa.Text(), primary_key=True),
        sa.Column("text", sa.Text(), primary_key=True),
        sa.Column("key", sa.Text(), nullable=False),
    )
    op.create_index("document_keys_by_key", "document_keys", ["what", "key"], unique=False)
    for kind, account_id, document_id, body in op.get_bind().execute(sa.text(
            "SELECT kind, account_id, id, body FROM documents WHERE NOT deleted")).all():
        if found := _keys_of(kind, json.loads(body) if isinstance(body, str) else body):
            op.bulk_insert(keys, [{"kind": kind, "account_id": account_id, "id": document_id, "what": what,
                                   "text": text, "key": key} for what, text, key in found])
    op.create_table(
        "engines",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("hash", sa.Text(), nullable=False, unique=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text()),
        sa.Column("user_id", sa.Text()),
        sa.Column("methods", sa.JSON()),
        sa.Column("paths", sa.JSON()),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("parent", sa.Text()),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger()),
        sa.Column("revoked_ms", sa.BigInteger()),
    )
    op.create_table(
        "links",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("hash", sa.Text(), nullable=False, unique=True),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("recording_id", sa.Text(), sa.ForeignKey("recordings.id"), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("channels", sa.Text(), nullable=False),
        sa.Column("track", sa.Text(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("revoked_ms", sa.BigInteger()),
    )
    op.create_index("ix_links_recording_id", "links", ["recording_id"], unique=False)
    op.create_table(
        "credentials",
        sa.Column("account_id", sa.Text(), primary_key=True),
        sa.Column("user_id", sa.Text(), primary_key=True),
        sa.Column("method", sa.Text(), primary_key=True),
        sa.Column("hash", sa.Text(), nullable=False),
    )
    op.create_index("credentials_by_hash", "credentials", ["account_id", "hash"], unique=False)
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.Text()),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text()),
        sa.Column("remote", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("sent", sa.Text()),
        sa.Column("request_id", sa.Text(), nullable=False),
    )
    op.create_index("audit_of_account", "audit", ["account_id", "id"], unique=False)
    _only_add_to_audit() if op.get_bind().dialect.name == "sqlite" else _only_add_to_audit_of_postgres()


def _only_add_to_audit():
    for verb in ("UPDATE", "DELETE"):
        op.execute(f"CREATE TRIGGER audit_no_{verb.lower()} BEFORE {verb} ON audit "
                   "BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END")
    # INSERT OR REPLACE deletes without asking the trigger of DELETE.
    op.execute("CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit "
               "WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id) "
               "BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END")


def _only_add_to_audit_of_postgres():
    op.execute("CREATE FUNCTION audit_is_only_added_to() RETURNS trigger LANGUAGE plpgsql AS "
               "$$ BEGIN RAISE EXCEPTION 'the audit log is only added to' "
               "USING ERRCODE = 'integrity_constraint_violation'; END $$")
    op.execute("CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
               "FOR EACH STATEMENT EXECUTE FUNCTION audit_is_only_added_to()")


def downgrade():
    for table in ("audit", "credentials", "links", "tokens", "engines", "document_keys"):
        op.drop_table(table)
    op.drop_index("documents_of_account", "documents")
    for index in ("recordings_to_delete", "recordings_of_account"):
        op.drop_index(index, "recordings")
    op.create_index("recordings_by_account", "recordings", ["account_id", "created_ms"], unique=False)
    with op.batch_alter_table("recordings") as recordings:
        for column in ("label", "legal_hold", "delete_requested_ms", "deleted_by"):
            recordings.drop_column(column)
    with op.batch_alter_table("documents") as documents:
        documents.drop_column("created_ms")
        documents.drop_column("modified_ms")
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION audit_is_only_added_to")


def _keys_of(kind, body):
    """(what, text, key) as the store keeps them at this version."""
    sip = body.get("sip") or {}
    said = {"account": [("name", body.get("name")), ("realm", body.get("realm"))],
            "user": [("username", body.get("username"))],
            "device": [("sip_username", sip.get("username")), ("realm", sip.get("realm"))]}.get(kind, [])
    numbers = {"account": "number", "callflow": "callflow_number"}.get(kind)
    said += [(numbers, number) for number in body.get("numbers") or ()] if numbers else []
    return {(what, text, "".join(filter(str.isdecimal, text))[-5:] if what == "number" else
             "".join(text.lower().split())) for what, text in said if text and isinstance(text, str)}
