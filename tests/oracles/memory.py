"""The end-to-end memory network (Sukhbaatar et al. 2015) for one story, a sentence at a
time, in float64.

Weights of hop k, from 0: words[k] and words[k + 1] are A and C, time[k] and time[k + 1]
are T_A and T_C ("adjacent" tying, §2.2); words[0] is B, and the last of words W.
"""

import numpy as np


def position_encoding(vectors):
  """Σ_j l_j · A x_j with l_kj = (1 - j/J) - (k/d)(1 - 2j/J), j and k from 1 (§4.1)."""
  count, d = len(vectors), len(vectors[0])
  total = np.zeros(d)
  for j, vector in enumerate(vectors, start=1):
    for k in range(1, d + 1):
      share = (1 - j / count) - (k / d) * (1 - 2 * j / count)
      total[k - 1] += share * vector[k - 1]
  return total


def bag(vectors):
  """Σ_j A x_j (§4.1)."""
  return np.sum(vectors, axis=0)


def softmax(scores):
  """Shares that sum to one."""
  share = np.exp(scores - np.max(scores))
  return share / share.sum()


def hop(u, memories, outputs):
  """u + Σ p_i c_i with p = softmax(u · m_i) (equations 1, 2 and 4)."""
  p = softmax(np.array([u @ m for m in memories]))
  return u + sum(share * c for share, c in zip(p, outputs, strict=True))


def forward(weights, sentences, question, encode):
  """Logits of the answer, W u^{K+1}; `sentences` are lists of ids, the last one the
  newest, which is the first of the temporal encodings."""
  words, times = weights["words"], weights["time"]

  def say(k, ids):
    return encode([words[k][i] for i in ids])

  u = say(0, question)
  for k in range(len(words) - 1):
    memories = []
    for which in (k, k + 1):
      rows = []
      for i, ids in enumerate(sentences):
        age = min(len(sentences) - 1 - i, len(times[which]) - 1)
        rows.append(say(which, ids) + times[which][age])
      memories.append(rows)
    u = hop(u, *memories)
  return words[-1] @ u
