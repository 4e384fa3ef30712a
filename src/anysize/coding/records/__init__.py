"""Documents with coded spans, and dictionaries of codes."""
