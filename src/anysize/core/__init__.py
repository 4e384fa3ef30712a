"""The one idea: sizes, objectives, cost, frontiers, checkpoints. Knows no family."""
