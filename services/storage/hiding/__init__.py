"""What users hide for themselves: taken, kept, and who has hidden what."""
