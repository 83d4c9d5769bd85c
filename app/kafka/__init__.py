"""Optional: Kafka as a durable log between receivers and store."""
