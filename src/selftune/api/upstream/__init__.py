"""Requests that another account answers, in part or whole, while a model moves here."""
