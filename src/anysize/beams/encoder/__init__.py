"""The SSB-Encoder: from the reports of one sweep to the beams of the next."""
