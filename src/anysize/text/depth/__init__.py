"""Encoders nested in layers and dimensions: 2DMSE and Starbucks."""
