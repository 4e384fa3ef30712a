"""Benchmarks of quantize: each prints its figures and can write its row of evidence."""
