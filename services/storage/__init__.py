"""Storage nodes remember: numbers, messages, inboxes, members, sessions."""
