"""The model of Vaswani et al. 2017, §3, for one sentence pair without padding.

Weights are nested dicts and lists of float64 arrays:

  embedding            [v, d]       the one matrix of §3.4, shared three ways
  encoder              list over layers of
    self_attention     q, k [d, h, k]   v [d, h, u]   o [h, u, d]
    norm1              scale [d]  bias [d]
    feed_forward       w1 [d, f]  b1 [f]  w2 [f, d]  b2 [d]
    norm2              as norm1
  decoder              list over layers of
    self_attention, norm1, cross_attention, norm2, feed_forward, norm3

and, in models that came after the paper,

  encoder_embedding_norm, decoder_embedding_norm   as norm1, on embedded tokens
  logits_bias          [v]
  q_bias … o_bias      beside the matrices of attention

A norm stands behind the sub-layer that it is listed after. There is no dropout: this
is the function that the trained model computes.
"""

import dataclasses

import numpy as np

from tests.oracles.attention import causal, multi_head_attention
from tests.oracles.loss import cross_entropy
from tests.oracles.norm import layer_norm
from tests.oracles.positions import sinusoids

EPSILON = 1e-6
"""Of layer norm, where a caller gives none; the paper is silent."""


@dataclasses.dataclass(frozen=True)
class Sizes:
  """The paper's letters (Table 3); defaults are the base model's."""

  vocabulary: int
  layers: int = 6  # N
  d_model: int = 512
  d_ff: int = 2048
  heads: int = 8  # h
  d_k: int = 64
  d_v: int = 64


def embed(embedding_vd, ids):
  """§3.4 and §3.5: E[id] sqrt(d_model) + PE(pos), positions from 0; `[t, d]`."""
  d_model = embedding_vd.shape[-1]
  x_td = np.stack([embedding_vd[token] for token in ids]) * np.sqrt(d_model)
  return x_td + sinusoids(range(len(ids)), d_model)


def feed_forward(x_td, weights):
  """FFN(x) = max(0, x W_1 + b_1) W_2 + b_2, §3.3, equation 2."""
  hidden_tf = np.maximum(0, x_td @ weights["w1"] + weights["b1"])
  return hidden_tf @ weights["w2"] + weights["b2"]


def add_and_norm(x_td, sublayer_td, norm, epsilon):
  """LayerNorm(x + Sublayer(x)), §3.1."""
  return layer_norm(x_td + sublayer_td, norm["scale"], norm["bias"], epsilon)


def norm_if_any(x_td, norm, epsilon):
  """LayerNorm(x), and `x` itself where there are no weights of a norm."""
  return (
    x_td if norm is None else layer_norm(x_td, norm["scale"], norm["bias"], epsilon)
  )


def encode(weights, source_ids, epsilon=EPSILON):
  """The encoder stack of §3.1; `[s, d]`."""
  x = embed(weights["embedding"], source_ids)
  x = norm_if_any(x, weights.get("encoder_embedding_norm"), epsilon)
  for layer in weights["encoder"]:
    attended = multi_head_attention(x, x, layer["self_attention"])
    x = add_and_norm(x, attended, layer["norm1"], epsilon)
    x = add_and_norm(x, feed_forward(x, layer["feed_forward"]), layer["norm2"], epsilon)
  return x


def decode(weights, memory_sd, target_in_ids, epsilon=EPSILON):
  """The decoder stack of §3.1 and the logits of §3.4, x E^T without bias; `[t, v]`."""
  x = embed(weights["embedding"], target_in_ids)
  x = norm_if_any(x, weights.get("decoder_embedding_norm"), epsilon)
  allowed_tt = causal(len(target_in_ids))
  for layer in weights["decoder"]:
    attended = multi_head_attention(x, x, layer["self_attention"], allowed_tt)
    x = add_and_norm(x, attended, layer["norm1"], epsilon)
    attended = multi_head_attention(x, memory_sd, layer["cross_attention"])
    x = add_and_norm(x, attended, layer["norm2"], epsilon)
    x = add_and_norm(x, feed_forward(x, layer["feed_forward"]), layer["norm3"], epsilon)
  return x @ weights["embedding"].T + weights.get("logits_bias", 0.0)


def forward(weights, source_ids, target_in_ids, epsilon=EPSILON):
  """Logits `[t, v]` of the token after each of `target_in_ids`, Figure 1.

  `target_in_ids` are "shifted right": they begin with the start symbol.
  """
  memory_sd = encode(weights, source_ids, epsilon)
  return decode(weights, memory_sd, target_in_ids, epsilon)


def loss(weights, source_ids, target_ids, bos, smoothing, epsilon=EPSILON):
  """(sum, count) of §5.4 for one pair; `target_ids` end in the end symbol, no `bos`."""
  logits_tv = forward(weights, source_ids, [bos, *target_ids[:-1]], epsilon)
  return cross_entropy(logits_tv, target_ids, np.ones(len(target_ids)), smoothing)


def shapes(sizes):
  """The weights of the top of this file with a shape tuple for every array."""
  d, f, h = sizes.d_model, sizes.d_ff, sizes.heads

  def attention():
    return {
      "q": (d, h, sizes.d_k),
      "k": (d, h, sizes.d_k),
      "v": (d, h, sizes.d_v),
      "o": (h, sizes.d_v, d),
    }

  def norm():
    return {"scale": (d,), "bias": (d,)}

  def feed_forward():
    return {"w1": (d, f), "b1": (f,), "w2": (f, d), "b2": (d,)}

  def encoder_layer():
    return {
      "self_attention": attention(),
      "norm1": norm(),
      "feed_forward": feed_forward(),
      "norm2": norm(),
    }

  def decoder_layer():
    return {
      "self_attention": attention(),
      "norm1": norm(),
      "cross_attention": attention(),
      "norm2": norm(),
      "feed_forward": feed_forward(),
      "norm3": norm(),
    }

  return {
    "embedding": (sizes.vocabulary, d),
    "encoder": [encoder_layer() for _ in range(sizes.layers)],
    "decoder": [decoder_layer() for _ in range(sizes.layers)],
  }


def arrays(make, tree, path=()):
  """The same tree with `make(path, shape)` in the place of every shape tuple."""
  if isinstance(tree, dict):
    return {name: arrays(make, part, (*path, name)) for name, part in tree.items()}
  if isinstance(tree, list):
    return [arrays(make, part, (*path, index)) for index, part in enumerate(tree)]
  return make(path, tree)


def random_weights(rng, sizes):
  """Weights from N(0, 1 / inputs), scales around 1; no bias is 0, so none can hide."""

  def make(path, shape):
    normal = rng.standard_normal(shape)
    match path[-1]:
      case "scale":
        return 1 + 0.2 * normal
      case "bias" | "b1" | "b2":
        return 0.2 * normal
      case "o":
        return normal / np.sqrt(shape[0] * shape[1])
      case "embedding":
        return normal / np.sqrt(shape[1])
      case _:
        return normal / np.sqrt(shape[0])

  return arrays(make, shapes(sizes))


def parameters(sizes):
  """How many numbers the paper's model learns: a closed formula, no arrays made."""
  d, f, h = sizes.d_model, sizes.d_ff, sizes.heads
  attention = 2 * d * h * sizes.d_k + 2 * d * h * sizes.d_v
  feed_forward = (d * f + f) + (f * d + d)
  norm = 2 * d
  encoder_layer = attention + feed_forward + 2 * norm
  decoder_layer = 2 * attention + feed_forward + 3 * norm
  return sizes.vocabulary * d + sizes.layers * (encoder_layer + decoder_layer)
