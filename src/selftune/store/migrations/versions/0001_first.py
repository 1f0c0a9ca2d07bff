"""The first schema."""

from alembic import op

from selftune.store.schema import metadata

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make every table. The next migration spells out what it changes."""
    metadata.create_all(op.get_bind())


def downgrade() -> None:
    """Remove every table."""
    metadata.drop_all(op.get_bind())
