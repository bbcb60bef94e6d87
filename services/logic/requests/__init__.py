"""Requests of clients: a file for each operation or small family, and the dispatcher that knows them all."""
