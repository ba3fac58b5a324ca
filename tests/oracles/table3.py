"""Table 3 of Vaswani et al. 2017 as data: variations on the base model.

Development set newstest2013, English-German; perplexity per word piece. None is a cell
that the paper leaves blank: "unlisted values are identical to those of the base model"
for the settings, not reported for the parameters.
"""

import dataclasses

from tests.oracles.transformer import Sizes


@dataclasses.dataclass(frozen=True)
class Row:
  """One printed row: only what the paper prints in it."""

  group: str  # the paper's letter, or base, big
  name: str  # ours: what the row changes
  perplexity: float  # PPL (dev)
  bleu: float  # BLEU (dev)
  layers: int | None = None  # N
  d_model: int | None = None
  d_ff: int | None = None
  heads: int | None = None  # h
  d_k: int | None = None
  d_v: int | None = None
  dropout: float | None = None  # P_drop
  smoothing: float | None = None  # eps_ls
  steps: int | None = None  # train steps
  millions: int | None = None  # params x 10^6
  learned_positions: bool = False  # "positional embedding instead of sinusoids"


BASE = Row("base", "base", 4.92, 25.8, 6, 512, 2048, 8, 64, 64, 0.1, 0.1, 100_000, 65)
BIG = Row(
  "big",
  "big",
  4.33,
  26.4,
  layers=6,
  d_model=1024,
  d_ff=4096,
  heads=16,
  dropout=0.3,
  steps=300_000,
  millions=213,
)

ROWS = (
  BASE,
  Row("A", "h 1", 5.29, 24.9, heads=1, d_k=512, d_v=512),
  Row("A", "h 4", 5.00, 25.5, heads=4, d_k=128, d_v=128),
  Row("A", "h 16", 4.91, 25.8, heads=16, d_k=32, d_v=32),
  Row("A", "h 32", 5.01, 25.4, heads=32, d_k=16, d_v=16),
  Row("B", "d_k 16", 5.16, 25.1, d_k=16, millions=58),
  Row("B", "d_k 32", 5.01, 25.4, d_k=32, millions=60),
  Row("C", "N 2", 6.11, 23.7, layers=2, millions=36),
  Row("C", "N 4", 5.19, 25.3, layers=4, millions=50),
  Row("C", "N 8", 4.88, 25.5, layers=8, millions=80),
  Row("C", "d 256", 5.75, 24.5, d_model=256, d_k=32, d_v=32, millions=28),
  Row("C", "d 1024", 4.66, 26.0, d_model=1024, d_k=128, d_v=128, millions=168),
  Row("C", "ff 1024", 5.12, 25.4, d_ff=1024, millions=53),
  Row("C", "ff 4096", 4.75, 26.2, d_ff=4096, millions=90),
  Row("D", "dropout 0.0", 5.77, 24.6, dropout=0.0),
  Row("D", "dropout 0.2", 4.95, 25.5, dropout=0.2),
  Row("D", "smoothing 0.0", 4.67, 25.3, smoothing=0.0),
  Row("D", "smoothing 0.2", 5.47, 25.7, smoothing=0.2),
  Row("E", "learned positions", 4.92, 25.7, learned_positions=True),
  BIG,
)

SETTINGS = ("layers", "d_model", "d_ff", "heads", "d_k", "d_v")
SETTINGS += ("dropout", "smoothing", "steps")


def row(name):
  """The row of that name; KeyError if the table has none."""
  return {entry.name: entry for entry in ROWS}[name]


def complete(entry):
  """The row with the base model's settings in the cells that the paper leaves blank."""
  blank = [name for name in SETTINGS if getattr(entry, name) is None]
  return dataclasses.replace(entry, **{name: getattr(BASE, name) for name in blank})


def sizes(entry, vocabulary):
  """The row's model, for a vocabulary that the paper does not print in the table."""
  full = complete(entry)
  return Sizes(
    vocabulary,
    full.layers,
    full.d_model,
    full.d_ff,
    full.heads,
    full.d_k,
    full.d_v,
  )
