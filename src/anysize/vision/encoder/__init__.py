"""The image encoder at any size: what it gives, is made of labels, and is written as."""
