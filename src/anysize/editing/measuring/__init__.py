"""What an edit achieves and what it costs the rest of the model."""
