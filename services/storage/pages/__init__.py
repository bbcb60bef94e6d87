"""Pages: history, inboxes, members, and lists of conversations."""
