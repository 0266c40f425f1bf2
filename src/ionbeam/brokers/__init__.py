"""HOW MESSAGES TRAVEL: in memory, over RabbitMQ."""
