"""The mark of each node's recordings directory."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade():
    op.create_table(
        "directories",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("mark", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("node"),
    )


def downgrade():
    op.drop_table("directories")
