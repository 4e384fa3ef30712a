"""Embeddings nested in their dimensions: MRL as a head or by fine-tuning."""
