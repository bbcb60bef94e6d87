"""Entries that no request waits for are told to their recipients, by way of a logic node."""
