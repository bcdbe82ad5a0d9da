"""What each account has waiting, to be finished and to be sent; servers that take nothing."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def _where(condition):
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade():
    op.drop_index("deliveries_due", "deliveries")
    op.create_index("deliveries_due", "deliveries", ["node", "state", "account_id", "host", "next_attempt_ms"],
                    unique=False, **_where("state = 'due'"))
    op.create_index("deliveries_given_up", "deliveries", ["node", "state", "recording_id"], unique=False,
                    **_where("state = 'failed'"))
    op.create_index("recordings_stopped", "recordings", ["node", "state", "account_id", "stopped_ms"],
                    unique=False, **_where("state = 'stopped'"))
    op.create_table(
        "failing_servers",
        sa.Column("node", sa.Text(), primary_key=True),
        sa.Column("account_id", sa.Text(), primary_key=True),
        sa.Column("host", sa.Text(), primary_key=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("rests_until_ms", sa.BigInteger(), nullable=False),
    )


def downgrade():
    op.drop_table("failing_servers")
    op.drop_index("recordings_stopped", "recordings")
    op.drop_index("deliveries_given_up", "deliveries")
    op.drop_index("deliveries_due", "deliveries")
    op.create_index("deliveries_due", "deliveries", ["node", "state", "next_attempt_ms"], unique=False)
