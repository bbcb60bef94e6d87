"""What the commands of the chat do, by what they are about."""
