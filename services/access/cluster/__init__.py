"""This node in the cluster: registered, joining, following the ring, cut off, leaving."""
