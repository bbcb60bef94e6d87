"""What runs by time: retention, sessions of dead nodes, the clock of the cluster."""
