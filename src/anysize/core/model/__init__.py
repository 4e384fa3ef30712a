"""What a nested model promises, how it is stored, what it costs, and the battery that checks it."""
