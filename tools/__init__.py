"""What people run: the `tidings` command with its local stack, and the load generator; and what makers run (make)."""
