"""The method ``franca``: views, masks, the network that is trained."""
