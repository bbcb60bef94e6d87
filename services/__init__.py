"""The services of a Tidings cluster."""
