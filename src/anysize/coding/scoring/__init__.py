"""How coding is scored."""
