"""What happens to wrong things that are handed to the library in Python."""
