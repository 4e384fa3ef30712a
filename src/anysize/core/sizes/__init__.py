"""Sizes, the nesting that orders them, and how a menu of them is written."""
