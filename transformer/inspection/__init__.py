"""What a trained model does inside: attention, its heads, and the beam of a search."""
