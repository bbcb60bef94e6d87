"""Sends and signals: permitted, offered to the hook, stored, handed to the publisher."""
