"""Presence: which connections watch which users, and what the watchers are shown."""
