"""Layers that compute with codes, while they are trained and after."""
