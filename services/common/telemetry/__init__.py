"""What a node tells about itself: metrics, logs, traces, health and the ops address."""
