"""Attention as in Vaswani et al. 2017, §3.2."""

import numpy as np


def softmax(x):
  """exp(x_i) / sum_j exp(x_j) over the last axis; minus infinity is probability 0."""
  exponential = np.exp(x - x.max(axis=-1, keepdims=True))
  return exponential / exponential.sum(axis=-1, keepdims=True)


def attention_weights(q_tk, k_sk, allowed_ts=None):
  """softmax(Q K^T / sqrt(d_k)), the weights of §3.2.1, equation 1; `[t, s]`.

  `allowed_ts` is True where query t may see key s. The rest is "masking out (setting to
  minus infinity)" of §3.2.3. A query that may see nothing has no weights in the paper:
  ValueError.
  """
  d_k = q_tk.shape[-1]
  scores_ts = q_tk @ k_sk.T / np.sqrt(d_k)
  if allowed_ts is not None:
    allowed_ts = np.broadcast_to(allowed_ts, scores_ts.shape)
    if not allowed_ts.any(axis=-1).all():
      raise ValueError("attention oracle: a query may see no key; leave that row out")
    scores_ts = np.where(allowed_ts, scores_ts, -np.inf)
  return softmax(scores_ts)


def scaled_dot_product_attention(q_tk, k_sk, v_su, allowed_ts=None):
  """Attention(Q, K, V) = softmax(Q K^T / sqrt(d_k)) V, §3.2.1, equation 1; `[t, u]`."""
  return attention_weights(q_tk, k_sk, allowed_ts) @ v_su


def multi_head_attention(x_td, memory_sd, weights, allowed_ts=None):
  """MultiHead(Q, K, V) = Concat(head_1, ..., head_h) W^O, §3.2.2; `[t, d]`.

  head_i = Attention(Q W_i^Q, K W_i^K, V W_i^V). `weights` holds `q` and `k`
  `[d, h, k]`, `v` `[d, h, u]` and `o` `[h, u, d]`; with biases, as in other people's
  models, also `q_bias` and so on. Queries come from `x_td`,
  keys and values from `memory_sd` (§3.2.3). Rows of W^O stand in the order of the
  concatenation: head by head.
  """
  _, heads, _ = weights["q"].shape
  biased = "q_bias" in weights
  head = []
  for i in range(heads):
    q_tk, k_sk, v_su = (
      input_d @ weights[name][:, i] + (weights[f"{name}_bias"][i] if biased else 0.0)
      for name, input_d in (("q", x_td), ("k", memory_sd), ("v", memory_sd))
    )
    head.append(scaled_dot_product_attention(q_tk, k_sk, v_su, allowed_ts))
  w_o = np.concatenate([weights["o"][i] for i in range(heads)], axis=0)
  return np.concatenate(head, axis=-1) @ w_o + (weights["o_bias"] if biased else 0.0)


def causal(length):
  """§3.2.3: a position sees those "up to and including that position"; `[t, t]`."""
  return np.array([[s <= t for s in range(length)] for t in range(length)])
