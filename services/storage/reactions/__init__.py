"""Reactions: sets beside the log, judged, counted, and announced by entries of the log."""
