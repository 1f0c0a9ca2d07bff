"""Keep batches."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_Position = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "batches",
        sa.Column("position", _Position, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("endpoint", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=300)),
        sa.Column("input_file_id", sa.Text(), nullable=False),
        sa.Column("completion_window", sa.String(length=16), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("output_seconds", sa.Integer()),
        sa.Column("in_progress_at", sa.BigInteger()),
        sa.Column("finalizing_at", sa.BigInteger()),
        sa.Column("expired_at", sa.BigInteger()),
        sa.Column("cancelling_at", sa.BigInteger()),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("completed", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("usage", sa.Text(), nullable=False),
        sa.Column("errors", sa.Text(), nullable=False),
        sa.Column("output_file_id", sa.String(length=64)),
        sa.Column("error_file_id", sa.String(length=64)),
        sa.ForeignKeyConstraint(["id"], ["jobs.id"], name="fk_batches_id"),
        sa.PrimaryKeyConstraint("position", name="pk_batches"),
        sa.UniqueConstraint("id", name="uq_batches_id"),
    )


def downgrade() -> None:
    """Forget batches."""
    op.drop_table("batches")
