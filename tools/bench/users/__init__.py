"""The users of the load generator: their lines, their frames, and what they see of an answer."""
