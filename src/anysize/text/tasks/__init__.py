"""One encoder with an adapter per task (jina-embeddings-v3)."""
