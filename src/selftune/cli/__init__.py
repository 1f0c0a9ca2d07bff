"""Thin terminal face: one file per noun."""
