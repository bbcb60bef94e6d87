"""What users set for themselves: preferences of conversations, whom they block, profiles."""
