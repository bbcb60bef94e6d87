"""Messages and changes of conversations: numbered, written in rounds, and settled after a crash."""
