"""The bus on Kafka, by aiokafka."""
