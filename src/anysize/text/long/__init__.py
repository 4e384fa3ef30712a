"""Texts longer than a model reads: windows and late chunking."""
