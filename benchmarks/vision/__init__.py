"""Evidence for image encoders: masks, balanced targets, position taken out, nested heads."""
