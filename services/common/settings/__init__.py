"""What a node is told at its start, from TIDINGS_* variables or one TOML file."""
