"""Let jobs hold GPUs under their leases."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what a job needs and holds; jobs that there are need none."""
    needed = sa.Column("devices", sa.Integer(), nullable=False, server_default="0")
    op.add_column("jobs", needed)
    op.add_column("jobs", sa.Column("device_memory", sa.Integer()))
    op.add_column("jobs", sa.Column("devices_held", sa.Text()))
    passed = sa.Column("passed_over", sa.Integer(), nullable=False, server_default="0")
    op.add_column("jobs", passed)


def downgrade() -> None:
    """Forget devices."""
    with op.batch_alter_table("jobs") as table:
        for name in ("devices", "device_memory", "devices_held", "passed_over"):
            table.drop_column(name)
