"""What a file is to be in the library: of a delivery, length and digest."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade():
    op.add_column("deliveries", sa.Column("size_bytes", sa.BigInteger(), nullable=True))
    op.add_column("deliveries", sa.Column("sha256", sa.Text(), nullable=True))


def downgrade():
    """What is in the library is not played from there any more, nor once the database is up again, and what is not
    yet there is not put there; what the older version deletes stays there.
    """
    with op.batch_alter_table("deliveries") as changed:
        changed.drop_column("sha256")
        changed.drop_column("size_bytes")
