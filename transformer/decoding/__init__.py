"""Search over `step(token_bw, state) -> (logits_bwv, state)`; knows no model."""
