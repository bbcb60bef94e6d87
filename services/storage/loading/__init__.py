"""Conversations as memory has them: read from their documents and their log, with what was half done done."""
