"""Codebooks that are not learnt, their order, and a tree of beams."""
