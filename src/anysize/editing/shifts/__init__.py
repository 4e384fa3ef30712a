"""Stage 1: windows of a target, and the shift of a hidden state that makes a model say each of them."""
