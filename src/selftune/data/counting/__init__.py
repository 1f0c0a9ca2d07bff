"""Tokens of rows, and what they cost."""
