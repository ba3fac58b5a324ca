"""The models: frozen descriptions that build Linen modules."""
