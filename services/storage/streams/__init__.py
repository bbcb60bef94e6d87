"""Messages whose text grows while they are read: their parts, their texts, their ends."""
