"""The convolutional encoder-decoder (Gehring et al. 2017) for one sentence pair, §3, a
window at a time, in float64.

Weights: source and target (tokens [v, d], position [p, d]); for encoder_in and so on
(w, b); encoder, a list of convolutions (w [n, f, 2, f], b [2, f]); decoder, a list of
blocks with convolution, query and context; output. Embedded tokens are scaled by 0.1
and the root of their width.
"""

import numpy as np

HALF = np.sqrt(0.5)


def linear(layer, x):
  """W x + b."""
  return x @ layer["w"] + layer["b"]


def embed(place, ids):
  """e = (w_1 + p_1, …), §3.1; `[t, d]`."""
  root = np.sqrt(place["tokens"].shape[1])
  return np.stack(
    [0.1 * root * place["tokens"][i] + place["position"][t] for t, i in enumerate(ids)]
  )


def convolve(layer, x_tf, first):
  """v([A B]) = A sigmoid(B) of windows that begin `first` places from each token, with
  zeros around the sequence, §3.2."""
  n, _, _, f = layer["w"].shape
  rows = []
  for t in range(len(x_tf)):
    y = layer["b"].copy()
    for i in range(n):
      place = t + first + i
      if 0 <= place < len(x_tf):
        y += np.tensordot(x_tf[place], layer["w"][i], axes=1)
    rows.append(y[0] / (1 + np.exp(-y[1])))
  return np.stack(rows)


def attention(d, z_sd, e_sd):
  """c_i of equation 2, with the scores of equation 1 and the scaling of §3.5."""
  scores = z_sd @ d
  share = np.exp(scores - scores.max())
  m = len(z_sd)
  return m * np.sqrt(1 / m) * (share / share.sum()) @ (HALF * (z_sd + e_sd))


def forward(weights, source_ids, target_in_ids):
  """Logits `[t, v]` of the token after each of `target_in_ids`."""
  e_sd = embed(weights["source"], source_ids)
  x_sf = linear(weights["encoder_in"], e_sd)
  for layer in weights["encoder"]:
    n = layer["w"].shape[0]
    x_sf = HALF * (x_sf + convolve(layer, x_sf, -(n // 2)))
  z_sd = linear(weights["encoder_out"], x_sf)
  g_td = embed(weights["target"], target_in_ids)
  x_tf = linear(weights["decoder_in"], g_td)
  for layer in weights["decoder"]:
    n = layer["convolution"]["w"].shape[0]
    h_tf = convolve(layer["convolution"], x_tf, 1 - n)
    d_td = HALF * (linear(layer["query"], h_tf) + g_td)
    c_td = np.stack([attention(d, z_sd, e_sd) for d in d_td])
    h_tf = HALF * (h_tf + linear(layer["context"], c_td))
    x_tf = HALF * (x_tf + h_tf)
  return linear(weights["output"], linear(weights["decoder_out"], x_tf))
