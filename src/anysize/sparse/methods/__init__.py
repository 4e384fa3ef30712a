"""The methods by name: Matryoshka SAE, MSAE, CSR, and those of one size."""
