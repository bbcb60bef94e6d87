"""The feed of events for other systems: made from the log, published to Kafka."""
