"""Groups: their rules, what is remembered of them, and how a change of one comes about."""
