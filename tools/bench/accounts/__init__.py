"""What a run has counted: the fate of every message, how long things took, what the processes used."""
