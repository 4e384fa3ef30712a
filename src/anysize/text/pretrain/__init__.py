"""Pretraining that prepares an encoder for depth: SMAE and MLM."""
