"""What users ask of other users, and set for themselves: presence, profiles, blocks, preferences."""
