"""One pass over a file: structure, tokens, texts, counts."""
