"""Keep chat completions and responses."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make their tables."""
    op.create_table(
        "completions",
        sa.Column(
            "position",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(length=300), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("temperature", sa.Float(), nullable=True),
        sa.Column("top_p", sa.Float(), nullable=True),
        sa.Column("user", sa.Text(), nullable=True),
        sa.Column("messages", sa.Text(), nullable=False),
        sa.Column("choices", sa.Text(), nullable=False),
        sa.Column("usage", sa.Text(), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_completions_project_id"),
        sa.PrimaryKeyConstraint("position", name="pk_completions"),
        sa.UniqueConstraint("id", name="uq_completions_id"),
    )
    op.create_index("completions_by_project", "completions", ["project_id", "kind", "position"])
    op.create_index("completions_by_age", "completions", ["created_at"])
    op.create_table(
        "completion_metadata",
        sa.Column("completion_id", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("value", sa.String(length=512), nullable=False),
        sa.ForeignKeyConstraint(
            ["completion_id"],
            ["completions.id"],
            name="fk_completion_metadata_completion_id",
        ),
        sa.PrimaryKeyConstraint("completion_id", "key", name="pk_completion_metadata"),
    )
    op.create_index("completion_metadata_by_value", "completion_metadata", ["key", "value"])


def downgrade() -> None:
    """Forget them all."""
    op.drop_table("completion_metadata")
    op.drop_table("completions")
