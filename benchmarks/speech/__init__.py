"""Speech at any rate: what one recogniser for many rates is worth, on spoken digits."""
