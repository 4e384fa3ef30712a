"""Speech at any rate: sound and lips in fewer tokens, before a causal language model (Llama-MTSK, MoME)."""
