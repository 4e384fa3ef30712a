"""The errors a user meets. Each message is one sentence or two: what was given, what was expected, what to do."""

from __future__ import annotations


class AnysizeError(ValueError):
    """Bad input or a bad file. The command line prints the message alone and exits with status 2."""


class SizeError(AnysizeError):
    """A size that a model was not trained for, or a list of sizes that is not a nesting."""


class DataError(AnysizeError):
    """Data that cannot be read, or that lacks what the task needs."""


class CheckpointError(AnysizeError):
    """A saved model, index or frontier that is missing, damaged, or made by something else."""
