"""What this device sends, holds and shows of its user's messages. Pure."""
