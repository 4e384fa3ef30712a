"""Stage 2: shifts of hidden states written into weights."""
