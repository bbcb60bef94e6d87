"""Inboxes of users: their numbers, their writer, and the fan-out to the nodes that own them."""
