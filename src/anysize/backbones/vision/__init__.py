"""Vision towers and vision-language models of others, opened as ours, and the pictures that they see."""
