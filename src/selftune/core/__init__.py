"""Records, errors, ids, settings and plugins: no I/O but settings."""
