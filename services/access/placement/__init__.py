"""Who owns a user, where a client should be, and what owners know of users that are connected elsewhere."""
