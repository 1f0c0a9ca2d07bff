"""Comparison -> verdict."""
