"""How far users have read and devices have received."""
