"""Batched inference: search, scoring, streaming, generation and export."""
