"""What two or more services need: ring, lanes, ports to the backends, calls, settings, telemetry."""
