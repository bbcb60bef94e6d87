"""What stands around the core: sockets, tasks, the clock, the files, and the calls of the application."""
