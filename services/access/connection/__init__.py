"""One connection: the shell around its session, and the set of those that a node has, by user."""
