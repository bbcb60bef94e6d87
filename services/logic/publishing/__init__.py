"""What a batch has to tell: built into parcels and events, published to Kafka, or kept while it is away."""
