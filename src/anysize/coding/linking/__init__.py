"""What links a mention to codes."""
