"""What is to be edited: requests, how they become tokens, and readers of published sets."""
