"""Other people's models as runs, and back: Hugging Face directories."""
