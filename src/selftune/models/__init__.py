"""Talking to a model, whoever serves it: catalogue, samplers, the embedded model's runtime."""
