"""The other storage nodes, and what they are told of writes to what they own."""
