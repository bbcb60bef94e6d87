"""Messages and changes of conversations: numbered, written in turns of one lane."""
