"""Nested clustering: heads, balanced targets and losses, each of use in anybody's DINO or SwAV loop."""
