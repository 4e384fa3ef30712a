"""What is handed to an index: items, ids, vectors, passages, queries, and the model that embeds them."""
