"""Open models on transformers: loading, rendering, answering. Only this package knows torch here."""
