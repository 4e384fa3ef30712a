"""A language model that chooses among candidates."""
