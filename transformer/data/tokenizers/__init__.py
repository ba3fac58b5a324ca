"""Tokenizers of models that were trained elsewhere, read from their own files."""
