"""What a user does: fit, measure, load."""
