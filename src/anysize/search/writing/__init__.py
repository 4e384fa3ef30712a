"""How an index is written and changed."""
