"""Count how long a job has run, all its attempts together."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the count; jobs that there are begin at nothing."""
    column = sa.Column("seconds_used", sa.Float(), nullable=False, server_default="0")
    op.add_column("jobs", column)


def downgrade() -> None:
    """Forget the count."""
    with op.batch_alter_table("jobs") as table:
        table.drop_column("seconds_used")
