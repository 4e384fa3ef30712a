"""The sparse autoencoder and its codes."""
