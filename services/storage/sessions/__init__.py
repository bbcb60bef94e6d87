"""Sessions of devices: which is the newest, and what is stored of it."""
