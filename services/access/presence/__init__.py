"""Who watches whose presence, and what watchers are told."""
