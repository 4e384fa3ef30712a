"""Texts on their way into a model: their prompts, how much of them is read, and the batches they make."""
