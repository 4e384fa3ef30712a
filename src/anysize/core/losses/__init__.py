"""Losses over many sizes at once."""
