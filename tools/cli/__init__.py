"""The `tidings` command: what people run to start a cluster, look at it, and talk through it."""
