"""Records through Kafka: published with acknowledgement, read from given partitions with positions of one's own."""
