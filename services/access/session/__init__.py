"""The state machine of one connection: what may come when, and what follows. Pure."""
