"""What finds mentions."""
