"""Tokens: what they say, and where the keys that check them come from."""
