"""Edits of a real language model: what nested windows do, and what they cost."""
