"""What clients ask: from hello to goodbye, checked here, handed to logic in lanes, and answered."""
