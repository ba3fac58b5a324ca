"""WMT 2014 English to German, the paper's big model (§5, Table 3).

Claim: 28.4 BLEU on newstest2014 is the paper's figure (see wmt14_base.py).
Command: python train.py --config configs/wmt14_big.py --workdir runs/wmt14_big
Cost: 300,000 updates; 3.5 days on the paper's eight P100s.
Result: not run here.
"""

from transformer.data.batching import Grouped
from transformer.data.sources.tfds import Tfds
from transformer.data.tokenizer import SentencePiece
from transformer.experiment import Config
from transformer.models.transformer import Transformer
from transformer.tasks.translation import Translation
from transformer.training.keep import Keep
from transformer.training.optimizers import Adam
from transformer.training.schedules import Noam


def get_config() -> Config:
  """Everything that the paper gives; other than base: sizes, dropout and steps."""
  return Config(
    data=Tfds("wmt14_translate/de-en", source="en", target="de"),
    model=Transformer(layers=6, d_model=1024, d_ff=4096, heads=16, dropout=0.3),
    task=Translation(smoothing=0.1),
    tokenizer=SentencePiece(vocabulary=37_000),
    # "Approximately 25000" (§5.1); rows of every length divide over up to 32 devices.
    batching=Grouped(tokens=24_576),
    optimizer=Adam(beta1=0.9, beta2=0.98, epsilon=1e-9),
    schedule=Noam(warmup=4000),
    steps=300_000,
    eval_every=5000,
    # Ten minutes of the paper's 1.0 s updates; the last 20 are averaged (§6.1).
    save_every=600,
    keep=Keep(latest=20),
  )
