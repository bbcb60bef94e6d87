"""What people run: the `tidings` command and the local stack."""
