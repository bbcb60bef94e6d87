"""What two or more services need: domain nouns, ports, the wire, telemetry."""
