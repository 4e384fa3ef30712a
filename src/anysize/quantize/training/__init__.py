"""MatQuant: options, objective, QAT and OmniQuant."""
