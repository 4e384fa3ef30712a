"""A page to look at an autoencoder with."""
