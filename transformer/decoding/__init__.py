"""Search over `step(token_bw, state) -> (logits_bwv, state)`, for any model."""
