"""The requests of clients that were welcomed: checked here, handed to logic in lanes, and answered."""
