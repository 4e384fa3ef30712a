"""Sounds and films, and encoders that make frames of them."""
