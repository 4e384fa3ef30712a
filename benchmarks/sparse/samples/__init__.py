"""What the benchmarks of sparse codes learn from, and what they keep of it."""
