"""Thin web face."""
