"""Run by hand: each makes one paper's system from data to figures, and says what it costs and reaches."""
