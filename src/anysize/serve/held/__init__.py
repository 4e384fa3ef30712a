"""What a server holds: models with their queues, and what requests may be."""
