"""Alembic migrations, shipped with the package and run when the store is opened."""

HEAD = "0004"
"""The newest revision; a test compares it with the scripts in `versions`."""
