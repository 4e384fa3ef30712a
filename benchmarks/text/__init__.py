"""Benchmarks of text: each prints its figures and can write its row of evidence."""
