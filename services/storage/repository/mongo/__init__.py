"""The repository on MongoDB."""
