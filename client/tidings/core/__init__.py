"""The session as a pure value machine: events in, effects out, the time and the dice are arguments. No I/O."""
