"""The JSON codec: protobuf's canonical mapping, on tables made once from the descriptors."""
