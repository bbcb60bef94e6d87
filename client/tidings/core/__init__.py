"""One device and its sessions as a pure value machine: events in, effects out, time and dice as arguments. No I/O."""
