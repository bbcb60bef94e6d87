"""What is read: pages of history, inboxes and members, lists of conversations, and one conversation by its id."""
