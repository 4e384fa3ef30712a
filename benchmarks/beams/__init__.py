"""Beams: the rows of evidence on nested codebooks of massive MIMO."""
