"""Why the scores of attention are divided by sqrt(d_k) (§3.2.1).

Claim: the variance of q.k is d_k, and a softmax over such scores has next to no
gradient at large d_k; scaled, the variance is 1 and the gradient stays.
Command: transformer ablate configs/studies/scaling.py --workdir DIR
Cost: seconds; nothing is trained.
Result: at d_k 1000 a median of 1.1e-6 unscaled and 0.21 scaled (2026-11-26);
docs/studies.md.
"""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from transformer.layers.scores import Dot, Score
from transformer.studies.claims import Claim, Claims

WIDTHS = (4, 16, 64, 100, 256, 512, 1000)
KEYS = 10
TRIALS = 300


def drawn(d_k: int, keys: int = KEYS, trials: int = TRIALS):
  """A query and its keys for each trial, components from N(0, 1): `[b, 1, 1, k]` and
  `[b, s, 1, k]`."""
  rng = np.random.default_rng([d_k, keys])
  q_bthk = rng.normal(size=(trials, 1, 1, d_k)).astype(np.float32)
  return q_bthk, rng.normal(size=(trials, keys, 1, d_k)).astype(np.float32)


def variance(score: Score, d_k: int) -> float:
  """The variance of scores of random queries and keys."""
  return float(np.var(score(None, *map(jnp.asarray, drawn(d_k)))))


@functools.lru_cache
def steepest(score: Score, d_k: int) -> np.ndarray:
  """The largest entry of the softmax's Jacobian, `p_i (1[i = j] - p_j)`, in every
  trial."""
  scores_bhts = score(None, *map(jnp.asarray, drawn(d_k)))
  p_bs = np.asarray(jax.nn.softmax(scores_bhts), np.float64)[:, 0, 0]
  jacobian_bss = p_bs[:, :, None] * (np.eye(KEYS) - p_bs[:, None])
  return np.abs(jacobian_bss).max(axis=(1, 2))


def median(score: Score, d_k: int) -> float:
  """That of the largest gradient, over the trials."""
  return float(np.median(steepest(score, d_k)))


def lowest(score: Score, d_k: int) -> float:
  """The largest gradient of the trial in which it is smallest."""
  return float(steepest(score, d_k).min())


def draw(file: Path) -> None:
  """Variance and largest gradient over d_k, scaled and not."""
  figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
  figure.suptitle("Why sqrt(d_k): random queries and keys, 10 keys, 300 trials")
  kinds = ((Dot(), "q·k", "-", "o", -0.03), (Score(), "q·k / √d_k", "--", "s", 0.03))
  for score, name, style, mark, _ in kinds:
    values = [variance(score, d_k) for d_k in WIDTHS]
    left.plot(WIDTHS, values, style, marker=mark, color="black", label=name)
  left.plot(WIDTHS, WIDTHS, ":", color="gray", label="d_k")
  left.set(xlabel="d_k (channels)", ylabel="variance of the scores")
  left.set_yscale("log")
  for score, name, style, mark, shift in kinds:
    parts = [np.quantile(steepest(score, d), (0.05, 0.5, 0.95)) for d in WIDTHS]
    low, middle, high = np.array(parts).T
    right.errorbar(
      np.array(WIDTHS) * (1 + shift), middle, yerr=(middle - low, high - middle),
      linestyle=style, marker=mark, color="black", capsize=3,
      label=f"{name}: median, 5% to 95% of the trials",
    )  # fmt: skip
  right.set(xlabel="d_k (channels)", ylabel="largest |∂ softmax / ∂ score|")
  right.set_yscale("log")
  for axis in (left, right):
    axis.set_xscale("log")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
  figure.savefig(file, dpi=110)
  plt.close(figure)


def get_study() -> Claims:
  """Variances, and gradients at d_k 100 and 1000."""
  dot, scaled = Dot(), Score()
  claims = [
    Claim(
      f"variance of {name} at d_k {d_k}", "§3.2.1, footnote 4",
      functools.partial(variance, score, d_k), 0.8 * wanted, 1.2 * wanted, f"{wanted}",
    )
    for d_k in (64, 1000)
    for score, name, wanted in ((dot, "q·k", d_k), (scaled, "q·k / √d_k", 1))
  ]  # fmt: skip
  claims += [
    Claim(
      "largest gradient of softmax over q·k, d_k 1000, smallest of the trials",
      "§3.2.1", functools.partial(lowest, dot, 1000), most=1e-8, published="1.9e-11",
    ),
    Claim(
      "the same over q·k / √d_k", "§3.2.1", functools.partial(lowest, scaled, 1000),
      least=0.05, published="0.089 to 0.131",
    ),
    Claim(
      "median of the trials over q·k, d_k 100", "§3.2.1",
      functools.partial(median, dot, 100), most=0.1,
    ),
    Claim(
      "median of the trials over q·k, d_k 1000", "§3.2.1",
      functools.partial(median, dot, 1000), most=0.01,
    ),
    Claim(
      "median of the trials over q·k / √d_k, d_k 100", "§3.2.1",
      functools.partial(median, scaled, 100), 0.1, 0.25,
    ),
    Claim(
      "median of the trials over q·k / √d_k, d_k 1000", "§3.2.1",
      functools.partial(median, scaled, 1000), 0.1, 0.25,
    ),
  ]  # fmt: skip
  notes = (
    f"Queries and keys from N(0, 1); {KEYS} keys a query, {TRIALS} trials.",
    "Published figures are of single draws, whose number of keys is not known.",
  )
  return Claims("Why the scores are divided by sqrt(d_k)", tuple(claims), draw, notes)
