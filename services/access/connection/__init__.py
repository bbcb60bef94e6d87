"""One connection: the session's state machine, its shell, and what both go by."""
