"""Four families by the length of the source, each with as many parameters, tuned alike.

Claim: a network that has to put a source into one vector falls far behind one that can
look at it again.
Command: transformer ablate configs/studies/families.py --workdir DIR
Cost: 4 rows, six trials and three seeds each: 40 minutes of processor time.
Result: three dates in a text 0 by one vector, 0.170, 0.958 and 0.999 by the others; of
one date the first reads 0.014, so that it cannot be said what length does to it
(2026-11-26); docs/studies.md.

Each family is tried at three rates with two warm-ups, and trained with three seeds at
the pair with the lowest loss on val. Each trial and each seed sees 400,000 target
tokens, in the same batches; the table has the processor seconds that this took. With
--config.seconds=20 each takes as long as the convolutional one, not as many tokens.

For runs that are there already: `python -m transformer.studies.score_by_length`.
"""

from transformer.data.batching import Packed
from transformer.data.sources.dates import Dates, ManyDates
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.experiment import Config
from transformer.layers.residual import PreNorm
from transformer.models.conv_seq2seq import ConvSeq2Seq
from transformer.models.rnn import RNNSeq2Seq
from transformer.models.rnn_search import RNNSearch
from transformer.models.transformer import Transformer
from transformer.studies.budget import ProcessorSeconds, TargetTokens
from transformer.studies.figures import LinesOverHeldOut
from transformer.studies.rows import HeldOut, MatchParameters, Row
from transformer.studies.study import Study
from transformer.studies.sweep import Sweep
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


def get_study(seconds: float = 0.0) -> Study:
  """Trained on one to three dates a text, scored on each number of them.

  `steps` follow from the budget, and rate and warm-up from the sweep. With `seconds`,
  each run takes so many seconds of the processors instead.
  """
  return Study(
    title="Families by the length of the source",
    sweep=Sweep({"schedule.rate": (1e-3, 2e-3, 4e-3), "schedule.warmup": (60, 200)}),
    budget=ProcessorSeconds(seconds) if seconds else TargetTokens(400_000),
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
