"""The Transformer of *Attention Is All You Need*, and the systems around it, in JAX."""
