"""The requests of clients, from hello to goodbye: checked here, handed to logic in lanes, and answered."""
