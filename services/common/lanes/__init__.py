"""Lanes: bounded queues, each with one worker that handles what waits as one batch."""
