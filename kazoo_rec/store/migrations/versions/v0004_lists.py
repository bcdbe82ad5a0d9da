"""Indexes: the recordings of a user and of a leg, and those alone whose audio is still to be removed."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def _where(condition):
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade():
    op.create_index("recordings_of_user", "recordings", ["account_id", "user_id", "created_ms", "id"], unique=False)
    op.create_index("recordings_of_leg", "recordings", ["call_id"], unique=False)
    op.drop_index("recordings_to_delete", "recordings")
    op.create_index("recordings_to_delete", "recordings", ["node", "delete_requested_ms"], unique=False,
                    **_where("delete_requested_ms IS NOT NULL AND state != 'deleted'"))


def downgrade():
    op.drop_index("recordings_to_delete", "recordings")
    op.create_index("recordings_to_delete", "recordings", ["node", "delete_requested_ms"], unique=False)
    for index in ("recordings_of_leg", "recordings_of_user"):
        op.drop_index(index, "recordings")
