"""Alembic migrations, shipped with the package and run when the store is opened."""

HEAD = "0006"
"""The newest revision; a test compares it with the scripts in `versions`."""
