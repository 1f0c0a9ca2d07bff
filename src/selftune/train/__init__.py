"""Rows + TrainSpec -> a model folder."""
