"""How a session comes about, stays and comes back. Pure."""
