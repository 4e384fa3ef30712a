"""Run by hand: each writes rows of evidence to benchmarks/results, which `make evidence` renders."""
