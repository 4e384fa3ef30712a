"""What is measured, by what a model gives: retrieval, neighbours, similarity, accuracy, next token."""
