"""The serving process and its client: model folder -> tokens."""
