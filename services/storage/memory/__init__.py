"""What an owner keeps in memory, and what it writes behind."""
