"""Requests of clients: sorted by kind, bounded, and those that only read."""
