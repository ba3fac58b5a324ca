"""Position schemes, each from its own paper; one sentence, one head at a time."""

import numpy as np


def sinusoid(position, d_model):
  """The encoding of one position, `[d]`, sines and cosines interleaved (§3.5).

  PE(pos, 2i) = sin(pos / 10000^(2i / d_model)),
  PE(pos, 2i + 1) = cos(pos / 10000^(2i / d_model)).
  """
  encoding_d = np.zeros(d_model)
  for dimension in range(d_model):
    two_i = dimension - dimension % 2
    angle = position / 10000.0 ** (two_i / d_model)
    encoding_d[dimension] = np.sin(angle) if dimension == two_i else np.cos(angle)
  return encoding_d


def sinusoids(positions, d_model):
  """`sinusoid` of each position of a sequence; `[t, d]`."""
  return np.stack([sinusoid(position, d_model) for position in positions])


def concatenated_sinusoid(position, d_model):
  """`sinusoid` with its even channels before its odd ones (Marian); `[d]`."""
  encoding_d = sinusoid(position, d_model)
  return np.concatenate([encoding_d[0::2], encoding_d[1::2]])


def tensor2tensor_sinusoid(position, d_model):
  """`get_timing_signal_1d` of tensor2tensor: n = d_model / 2 wavelengths in geometric
  progression from 2π to 10000 · 2π, both included; sines, then cosines; `[d]`."""
  n = d_model // 2
  increment = np.log(10000.0) / (n - 1)
  angle_i = [position * np.exp(-i * increment) for i in range(n)]
  return np.concatenate([np.sin(angle_i), np.cos(angle_i)])


def axial(position, row_rd, column_cd):
  """[row of the grid, column of the grid] of a place (Kitaev et al. 2020); `[d]`.

  The grid is filled row by row; a place outside it is the last one.
  """
  columns = len(column_cd)
  places = [(row, column) for row in range(len(row_rd)) for column in range(columns)]
  row, column = places[min(position, len(places) - 1)]
  return np.concatenate([row_rd[row], column_cd[column]])


def rope(x_k, position, base=10000.0):
  """R_pos x, the block diagonal matrix of Su et al. 2021, eq. 14 and 15; `[k]`."""
  size = len(x_k)
  matrix_kk = np.zeros((size, size))
  for i in range(size // 2):
    angle = position * base ** (-2 * i / size)
    block = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix_kk[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = block
  return matrix_kk @ x_k


def alibi(head, heads, query, key):
  """-m (i - j), slope m = 2^(-8 (head + 1) / heads) (Press et al. 2022, §3).

  Keys behind the query's place, which the paper never reads, mirror those before it.
  """
  return -abs(query - key) / 2 ** (8 * (head + 1) / heads)


def t5_bucket(query, key, buckets, farthest, causal):
  """The bucket of a distance (Raffel et al. 2020, §2.1), in whole numbers alone.

  With n buckets of one direction, distances below n/2 have their own; bucket b of the
  others begins where log(g / (n/2)) / log(farthest / (n/2)) (n/2) reaches b - n/2.
  """
  ahead = 0
  if not causal:
    buckets //= 2
    ahead = buckets if key > query else 0
  gap = max(query - key, 0) if causal else abs(query - key)
  near = buckets // 2
  if gap < near:
    return ahead + gap
  bucket = near
  for i in range(1, buckets - near):
    if gap**near * near**i >= farthest**i * near**near:
      bucket = near + i
  return ahead + bucket


def shaw(q_tk, k_sk, v_su, relative, places, allowed_ts):
  """One head of Shaw et al. 2018, equations 2 to 4; `[t, u]`.

  `relative` holds w^K and w^V, entry c + clip for a key c places after its query;
  `places` those of the queries and of the keys.
  """
  (relative_k, relative_v), (query_places, key_places) = relative, places
  clip = (len(relative_k) - 1) // 2
  z_tu = np.zeros((len(q_tk), v_su.shape[1]))
  for t in range(len(q_tk)):
    seen = [s for s in range(len(k_sk)) if allowed_ts[t, s]]
    gap = [key_places[s] - query_places[t] for s in seen]
    index = [min(max(g, -clip), clip) + clip for g in gap]
    e = [
      q_tk[t] @ (k_sk[s] + relative_k[r]) / np.sqrt(q_tk.shape[1])
      for s, r in zip(seen, index, strict=True)
    ]
    alpha = np.exp(e) / np.sum(np.exp(e))
    for a, s, r in zip(alpha, seen, index, strict=True):
      z_tu[t] += a * (v_su[s] + relative_v[r])
  return z_tu


def transformer_xl(q_tk, k_sk, w_dk, u_k, v_k, query_places, key_places):
  """A^rel of one head, the terms (a) to (d) of Dai et al. 2019, §3.3; `[t, s]`.

  Over sqrt(d_k), which the paper leaves out of the equation. R has all sines first.
  """
  d = len(w_dk)
  score_ts = np.zeros((len(q_tk), len(k_sk)))
  for t, i in enumerate(query_places):
    for s, j in enumerate(key_places):
      wave = sinusoid(i - j, d)
      r_k = np.concatenate([wave[0::2], wave[1::2]]) @ w_dk
      score_ts[t, s] = q_tk[t] @ k_sk[s] + q_tk[t] @ r_k + u_k @ k_sk[s] + v_k @ r_k
  return score_ts / np.sqrt(q_tk.shape[1])
