"""Keep evals, their runs, and what became of each item."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_Position = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the three tables."""
    op.create_table(
        "evals",
        sa.Column("position", _Position, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("criteria", sa.Text(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_evals_project_id"),
        sa.PrimaryKeyConstraint("position", name="pk_evals"),
        sa.UniqueConstraint("id", name="uq_evals_id"),
    )
    op.create_index("evals_by_project", "evals", ["project_id", "position"])
    op.create_index("evals_by_update", "evals", ["project_id", "updated_at", "position"])
    op.create_table(
        "eval_runs",
        sa.Column("position", _Position, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("eval_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("model", sa.String(length=300), nullable=False),
        sa.Column("data_source", sa.Text(), nullable=False),
        sa.Column("report_key", sa.String(length=64), nullable=False),
        sa.Column("passed", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("errored", sa.Integer(), nullable=False),
        sa.Column("tallies", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["id"], ["jobs.id"], name="fk_eval_runs_id"),
        sa.ForeignKeyConstraint(["eval_id"], ["evals.id"], name="fk_eval_runs_eval_id"),
        sa.PrimaryKeyConstraint("position", name="pk_eval_runs"),
        sa.UniqueConstraint("id", name="uq_eval_runs_id"),
    )
    op.create_index("eval_runs_by_eval", "eval_runs", ["eval_id", "position"])
    op.create_table(
        "eval_output_items",
        sa.Column("position", _Position, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["jobs.id"], name="fk_eval_output_items_run_id"),
        sa.PrimaryKeyConstraint("position", name="pk_eval_output_items"),
        sa.UniqueConstraint("id", name="uq_eval_output_items_id"),
        sa.UniqueConstraint("run_id", "number", name="uq_eval_output_items_run_id_number"),
    )
    op.create_index("output_items_by_run", "eval_output_items", ["run_id", "position"])
    op.create_index("output_items_by_status", "eval_output_items", ["run_id", "status", "position"])


def downgrade() -> None:
    """Forget evals."""
    for table in ("eval_output_items", "eval_runs", "evals"):
        op.drop_table(table)
