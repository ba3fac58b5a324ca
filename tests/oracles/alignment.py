"""RNNsearch (Bahdanau et al. 2015) for one sentence pair, appendix A, in float64.

Weights: source and target [v, m]; forwards, backwards and decoder as in recurrent.py;
first [n, n] (W_s); of the decoder also context [2n, 3, n] (C), query [n, k] (W_a), key
[2n, k] (U_a) and score [k] (v_a); of the output state, token and context [., 2, l]
(U_o, V_o, C_o), output [l, v] (W_o) and bias [v]. Embedded tokens are scaled by the
root of their width. The output reads s_i, as equation 4 has it.
"""

import numpy as np

from tests.oracles.recurrent import gru, run


def annotate(weights, source_ids):
  """h_j, the states of both directions joined, `[s, 2n]`; equation 7."""
  root = np.sqrt(weights["source"].shape[1])
  xs = [weights["source"][i] * root for i in source_ids]
  zero = (np.zeros(weights["forwards"]["b"].shape[1]),)
  forth = run(gru, weights["forwards"], xs, zero)
  back = run(gru, weights["backwards"], xs[::-1], zero)[::-1]
  both = zip(forth, back, strict=True)
  return np.stack([np.concatenate([f, b]) for (f,), (b,) in both])


def context(decoder, s, h_sd):
  """c_i, equations 5 and 6, with the scores of A.1.2."""
  scores = np.array(
    [
      decoder["score"] @ np.tanh(decoder["query"].T @ s + decoder["key"].T @ h)
      for h in h_sd
    ]
  )
  share = np.exp(scores - scores.max())
  return (share / share.sum()) @ h_sd


def forward(weights, source_ids, target_in_ids):
  """Logits `[t, v]` of the token after each of `target_in_ids`."""
  h_sd = annotate(weights, source_ids)
  decoder = weights["decoder"]
  n = decoder["b"].shape[1]
  s = np.tanh(h_sd[0, n:] @ weights["first"])
  root = np.sqrt(weights["target"].shape[1])
  # C c enters every gate beside W y, so it is an input like y.
  joined = {**decoder, "w": np.concatenate([decoder["w"], decoder["context"]])}
  rows = []
  for token in target_in_ids:
    y = weights["target"][token] * root
    c = context(decoder, s, h_sd)
    (s,) = gru(joined, np.concatenate([y, c]), (s,))
    pairs = sum(
      np.tensordot(x, weights[name], axes=1)
      for name, x in (("state", s), ("token", y), ("context", c))
    )
    rows.append(pairs.max(axis=0) @ weights["output"] + weights["bias"])
  return np.stack(rows)
