"""The programs that the local stack runs, each by its own module: where it is, how it starts, when it is ready."""
