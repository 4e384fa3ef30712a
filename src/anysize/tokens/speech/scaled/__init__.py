"""What differs by scale: rates and their names, projectors, and the rows they make."""
