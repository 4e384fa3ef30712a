"""How good codes are: reconstruction, search, probing, geometry."""
