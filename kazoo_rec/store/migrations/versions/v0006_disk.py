"""When the audio of a delivered recording was removed to make room, and an index of those whose is still here."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def _where(condition):
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade():
    op.add_column("recordings", sa.Column("audio_removed_ms", sa.BigInteger))
    op.create_index("recordings_on_disk", "recordings", ["node", "stopped_ms", "id"], unique=False,
                    **_where("state = 'recorded' AND audio_removed_ms IS NULL"))


def downgrade():
    op.drop_index("recordings_on_disk", "recordings")
    op.drop_column("recordings", "audio_removed_ms")
