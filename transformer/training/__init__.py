"""Losses, schedules, optimizers, meshes, state and checkpoints; they know no task."""
