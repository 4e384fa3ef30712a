"""Visual tokens: what is claimed of MQT and M3, and what it took to see it."""
