"""What adapts a frozen language model to many sizes: low-rank adapters for scales, experts under one router."""
