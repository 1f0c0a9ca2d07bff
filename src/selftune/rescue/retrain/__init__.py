"""Train a replacement from the user's own files: `translate` says with what, `run` does it."""
