"""Where each engine is reached from other hosts, and which switches it has."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade():
    op.add_column("engines", sa.Column("address", sa.Text()))
    op.add_column("engines", sa.Column("switches", sa.JSON()))


def downgrade():
    with op.batch_alter_table("engines") as engines:
        engines.drop_column("switches")
        engines.drop_column("address")
