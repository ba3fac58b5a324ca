"""What a model is trained for: the join of data, model, loss and evaluation."""
