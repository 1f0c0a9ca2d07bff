"""Evals of other tools: brought in as files to run and rounds to compare, and taken out again."""
