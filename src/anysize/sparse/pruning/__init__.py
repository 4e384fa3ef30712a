"""Progressive coding: latents by importance, and what is lost without the rest."""
