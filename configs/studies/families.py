"""Four families by the length of the source, each with as many parameters.

Claim: a network that has to put a source into one vector falls far behind one that can
look at it again.
Command: transformer ablate configs/studies/families.py --workdir DIR
Cost: 4 rows, three seeds: 32 minutes on one core.
Result: the RNN with attention reads three dates in a text as well as one (1.000), the
one without hardly one (0.009), the convolutional network loses a little with the length
(0.996 to 0.898), and the Transformer, after so few updates, much (0.839 to 0.154)
(2026-11-21); docs/studies.md.

For runs that are there already: `python -m transformer.studies.score_by_length`.
"""

from transformer.data.batching import Packed
from transformer.data.sources.dates import Dates, ManyDates
from transformer.data.tokenizer import SentencePiece
from transformer.experiment import Config
from transformer.layers.residual import PreNorm
from transformer.models.conv_seq2seq import ConvSeq2Seq
from transformer.models.rnn import RNNSeq2Seq
from transformer.models.rnn_search import RNNSearch
from transformer.models.transformer import Transformer
from transformer.studies.figures import LinesOverHeldOut
from transformer.studies.rows import HeldOut, MatchParameters, Row
from transformer.studies.study import Study
from transformer.tasks.translation import Translation
from transformer.training.optimizers import Adam
from transformer.training.schedules import Cosine

ROWS = (
  Row("Transformer"),
  Row(
    "RNN (Sutskever)",
    {"model": RNNSeq2Seq(layers=2)},
    match=MatchParameters("model.d_model"),
  ),
  Row(
    "RNN with attention (Bahdanau)",
    {"model": RNNSearch(d_model=128, d_alignment=64, d_output=128)},
    match=MatchParameters("model.d_state"),
  ),
  Row(
    "convolutional (Gehring)",
    {"model": ConvSeq2Seq(layers=4, d_model=128, dropout=0.0)},
    match=MatchParameters("model.d_hidden"),
  ),
)


def get_study() -> Study:
  """Trained on one to three dates a text, scored on each number of them."""
  return Study(
    title="Families by the length of the source",
    base=Config(
      data=Dates(examples=40_000, held_out=300, several=3),
      model=Transformer(
        layers=2, d_model=128, d_ff=256, heads=4, dropout=0.0, residual=PreNorm()
      ),
      task=Translation(smoothing=0.0),
      tokenizer=SentencePiece(vocabulary=700, split_digits=True),
      batching=Packed(tokens=1024, length=96),
      optimizer=Adam(clip=1.0),
      schedule=Cosine(rate=2e-3, warmup=60),
      steps=700,
      eval_every=10_000,
      save_every=350,
    ),
    rows=ROWS,
    columns=tuple(f"{n} dates/{s}" for s in ("exact_match", "chrf") for n in (1, 2, 3)),
    held_out=tuple(
      HeldOut(f"{n} dates", "test", ManyDates(0, 300, several=n, fewest=n), x=n)
      for n in (1, 2, 3)
    ),
    figure=LinesOverHeldOut(label="dates in a text", scores=("exact_match", "chrf")),
  )
