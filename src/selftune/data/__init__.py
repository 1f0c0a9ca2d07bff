"""Upload -> rows: formats, validation, description, splits."""
