"""What users have set for themselves: who blocks whom, and what other devices and watchers are told of it."""
