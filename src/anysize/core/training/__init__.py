"""The training loop, its checkpoints, and the checks that it stays finite."""
