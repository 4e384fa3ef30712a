"""What differs by scale: rates and their names, projectors, low-rank adapters, experts, and the rows they make."""
