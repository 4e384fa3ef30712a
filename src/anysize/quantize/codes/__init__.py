"""Integers of many widths in one: slicing, scales, planes."""
