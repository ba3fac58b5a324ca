"""From text to NumPy batches, as a pure function of the step; knows no model."""
