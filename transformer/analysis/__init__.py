"""What a training step takes, found without running it."""
