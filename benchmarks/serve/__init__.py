"""What the server costs and what it gains: programs whose figures docs/evidence quotes."""
