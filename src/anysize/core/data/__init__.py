"""What models learn from and are measured on, and how it is read."""
