"""The endpoints, a file for what each is about."""
