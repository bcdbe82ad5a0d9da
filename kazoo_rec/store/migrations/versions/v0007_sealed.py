"""Which key user and password of URLs are sealed by (`migrate` seals those that were there and names it), and the keys
of recordings that are encrypted."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade():
    op.create_table(
        "sealing",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.add_column("recordings", sa.Column("data_key", sa.Text()))


def downgrade():
    """Recordings that are encrypted cannot be heard nor delivered any more; user and password of URLs stay sealed, and
    have to be said again."""
    with op.batch_alter_table("recordings") as recordings:
        recordings.drop_column("data_key")
    op.drop_table("sealing")
