"""Channels of links: what they are, files that hold them, and drops of a 3GPP sector made by Sionna."""
