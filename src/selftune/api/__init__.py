"""Thin HTTP face in OpenAI's words."""
