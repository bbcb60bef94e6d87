"""What keeps the local stack running: the supervisor, and the keeper of each program."""
