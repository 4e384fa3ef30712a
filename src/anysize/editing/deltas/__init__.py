"""Changes of weights, nested in windows, and the files that hold them."""
