"""How sparse autoencoders are trained: recipes, kernels, losses, the loop."""
