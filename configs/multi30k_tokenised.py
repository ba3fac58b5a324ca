"""Multi30k, English to German, on the text and with the model of published results.

Claim: on lower-cased, tokenised captions a model of two million parameters, 4 + 4
layers of width 128 with a dropout of 0.3, comes close to the 41.02 BLEU published for
these sizes (Wu et al. 2021, Good for Misconceived Reasons).
Command: python train.py --config configs/multi30k_tokenised.py --workdir runs/m30k-tok
  transformer average runs/m30k-tok --last 10
  transformer evaluate runs/m30k-tok-averaged
Cost: 87 minutes on one core, without the evaluations.
Result: 40.21 BLEU (tokenised) on test_2016_flickr (2026-11-26); the length
penalty was chosen on val (docs/log.md).

The text is to be in `data/multi30k_tokenised`, as `train.en.gz`, `train.de.gz` and so
on for val and test_2016_flickr, lower-cased and tokenised as for published results.
"""

from transformer.data.batching import Packed
from transformer.data.sources.multi30k import Multi30k
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.decoding.penalty import GNMT
from transformer.experiment import Config
from transformer.inference.search import Search
from transformer.layers.residual import PreNorm
from transformer.models.transformer import Transformer
from transformer.tasks.translation import Translation
from transformer.training.keep import Keep
from transformer.training.schedules import Cosine


def get_config() -> Config:
  """The experiment. BLEU is of the text as it is, which is tokenised already."""
  return Config(
    data=Multi30k("en-de", directory="data/multi30k_tokenised"),
    model=Transformer(
      layers=4, d_model=128, d_ff=256, heads=4, dropout=0.3, residual=PreNorm()
    ),
    task=Translation(
      smoothing=0.1, decoding=Search(beam=5, penalty=GNMT(1.4)), tokenize="none"
    ),
    tokenizer=SentencePiece(vocabulary=6000),
    batching=Packed(tokens=4096, length=64),
    schedule=Cosine(rate=4e-3, warmup=1000),
    steps=8000,
    eval_every=1000,
    save_every=200,
    keep=Keep(latest=10),
  )
