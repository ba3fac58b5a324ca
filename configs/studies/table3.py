"""Table 3 of the paper: variations on the base model (§6.2).

Claim: the paper's figures stand beside ours; parameters move as the paper's do.
Command: transformer ablate configs/studies/table3.py --config.scale=small --workdir DIR
Cost: small, 43 minutes on one core; the paper's, rows of up to 3.5 days on eight GPUs.
Result: docs/studies.md.

`--config.scale=paper`, the default, is the paper's own experiment on WMT 2014; with
`--count` its parameters and FLOPs are counted and nothing is trained. Its vocabulary is
41,100: Table 3 asks for it (docs/papers.md), while the text says "about 37000".

`--config.scale=small` is dates by models an eighth as wide (d_model, d_ff, d_k, d_v)
and half as deep, with the same heads, dropout and smoothing, an eighth of the learned
positions and 1,000 updates, 3,000 in the big row. The norm is after the sublayer as in
the paper; queries, keys and values are drawn narrowly, with which that order learns
faster (post_norm.py).
"""

import dataclasses
from pathlib import Path
from typing import Any, Literal, NamedTuple

from transformer import experiment
from transformer.data.batching import Packed
from transformer.data.sources.dates import Dates
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.experiment import Config
from transformer.inference.search import Search
from transformer.layers.positions import Learned
from transformer.models.transformer import Transformer
from transformer.studies.figures import DotPlot
from transformer.studies.rows import HeldOut, Row
from transformer.studies.study import Study
from transformer.tasks.translation import Translation
from transformer.training.schedules import Cosine


class Scale(NamedTuple):
  """How a row's changes are scaled down."""

  base: Config
  width: int  # divides d_model, d_ff, d_k, d_v
  depth: int  # divides layers
  updates: float  # divides steps
  limits: tuple[tuple[float, float], ...] = ()  # of perplexity and BLEU in the figure


def paper() -> Scale:
  """The paper's experiment."""
  path = Path(__file__).parents[1] / "wmt14_base.py"
  base = experiment.read_config(path)
  return Scale(
    dataclasses.replace(base, tokenizer=SentencePiece(vocabulary=41_100)), 1, 1, 1
  )


def small() -> Scale:
  """Minutes on two cores."""
  base = Config(
    data=Dates(examples=20_000, held_out=300),
    model=Transformer(
      layers=3, d_model=64, d_ff=256, heads=8, dropout=0.1, qkv_gain=0.5**0.5
    ),
    task=Translation(smoothing=0.1, search=Search(beam=1, max_length=12)),
    tokenizer=SentencePiece(vocabulary=700, split_digits=True),
    batching=Packed(tokens=512, length=32),
    schedule=Cosine(rate=4e-3, warmup=200),
    steps=1000,
    # The end is scored whatever this says.
    eval_every=10_000,
    save_every=500,
  )
  limits = (1.02, 1.24), (82.0, 101.0)
  return Scale(base, width=8, depth=2, updates=100, limits=limits)


SCALES = {"paper": paper, "small": small}

ROWS = (
  ("base", {}, (65, 4.92, 25.8)),
  ("A: h 1", dict(heads=1, d_k=512, d_v=512), (None, 5.29, 24.9)),
  ("A: h 4", dict(heads=4, d_k=128, d_v=128), (None, 5.00, 25.5)),
  ("A: h 16", dict(heads=16, d_k=32, d_v=32), (None, 4.91, 25.8)),
  ("A: h 32", dict(heads=32, d_k=16, d_v=16), (None, 5.01, 25.4)),
  ("B: d_k 16", dict(d_k=16), (58, 5.16, 25.1)),
  ("B: d_k 32", dict(d_k=32), (60, 5.01, 25.4)),
  ("C: N 2", dict(layers=2), (36, 6.11, 23.7)),
  ("C: N 4", dict(layers=4), (50, 5.19, 25.3)),
  ("C: N 8", dict(layers=8), (80, 4.88, 25.5)),
  ("C: d 256", dict(d_model=256, d_k=32, d_v=32), (28, 5.75, 24.5)),
  ("C: d 1024", dict(d_model=1024, d_k=128, d_v=128), (168, 4.66, 26.0)),
  ("C: ff 1024", dict(d_ff=1024), (53, 5.12, 25.4)),
  ("C: ff 4096", dict(d_ff=4096), (90, 4.75, 26.2)),
  ("D: dropout 0.0", dict(dropout=0.0), (None, 5.77, 24.6)),
  ("D: dropout 0.2", dict(dropout=0.2), (None, 4.95, 25.5)),
  ("D: smoothing 0.0", {"task.smoothing": 0.0}, (None, 4.67, 25.3)),
  ("D: smoothing 0.2", {"task.smoothing": 0.2}, (None, 5.47, 25.7)),
  ("E: learned positions", dict(places=1024), (None, 4.92, 25.7)),
  (
    "big",
    dict(d_model=1024, d_ff=4096, heads=16, d_k=64, d_v=64, dropout=0.3, steps=300_000),
    (213, 4.33, 26.4),
  ),
)
"""Name, what the paper prints in the row, and its parameters in millions, perplexity
and BLEU on newstest2013."""

WIDTHS = ("d_model", "d_ff", "d_k", "d_v")


def scaled(changes: dict[str, Any], scale: Scale) -> dict[str, Any]:
  """A row's changes at a scale, by dotted path."""
  made: dict[str, Any] = {}
  for name, value in changes.items():
    if name in WIDTHS:
      value //= scale.width
    elif name == "layers":
      value //= scale.depth
    elif name == "places":
      name, value = "position", Learned(length=value // scale.width)
    elif name == "steps":
      value = round(value / scale.updates)
    made[name if name == "steps" or "." in name else f"model.{name}"] = value
  return made


def get_study(scale: Literal["paper", "small"] = "paper") -> Study:
  """All 20 rows."""
  chosen = SCALES[scale]()
  return Study(
    title=f"Table 3 of Attention Is All You Need, scale {scale}",
    base=chosen.base,
    rows=tuple(
      Row(name, scaled(changes, chosen), (m and m * 1e6, perplexity, bleu))
      for name, changes, (m, perplexity, bleu) in ROWS
    ),
    columns=("dev/perplexity", "dev/bleu", "dev/chrf", "dev/exact_match"),
    held_out=(HeldOut("dev", "val"),),
    published=("parameters", "dev/perplexity", "dev/bleu"),
    figure=DotPlot(("dev/perplexity", "dev/bleu"), chosen.limits),
  )
