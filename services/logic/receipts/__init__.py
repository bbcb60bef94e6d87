"""Receipts: gathered for each reader and conversation, then sent to whom they concern."""
