"""Vision-language models that pay as many tokens for a picture as they are given."""
