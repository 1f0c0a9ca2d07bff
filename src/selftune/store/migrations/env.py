"""Alembic's entry: the connection comes from `run.upgrade`."""

from alembic import context

from selftune.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
context.run_migrations()
