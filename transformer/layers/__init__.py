"""The parts of a layer: projections, attention, positions, norms, feed-forward."""
