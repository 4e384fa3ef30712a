"""What image encoders are measured by, beside what, and what their page shows."""
