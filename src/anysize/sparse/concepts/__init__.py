"""Names for latents, and edits by them."""
