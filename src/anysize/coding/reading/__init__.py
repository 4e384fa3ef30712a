"""How annotated documents come in."""
