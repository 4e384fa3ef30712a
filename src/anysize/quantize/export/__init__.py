"""Standalone files at a width: ONNX, GGUF, compressed-tensors."""
