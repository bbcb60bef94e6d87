"""What a storage node keeps for good: the ports (contract.py), a twin in memory, and the adapter to MongoDB."""
