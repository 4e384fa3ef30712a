"""What Arabic nested embeddings need: normalisation, translated triplets, vocabulary reports."""
