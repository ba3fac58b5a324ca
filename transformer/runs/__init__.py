"""Runs: the training loop, what it leaves on disk, and opening it to be used."""
