"""WMT 2014 English to German, the paper's base model (§5, Table 3).

Claim: 27.3 BLEU on newstest2014 is the paper's figure (tokenised, after splitting
compounds; sacreBLEU's 13a gives lower numbers).
Command: python train.py --config configs/wmt14_base.py --workdir runs/wmt14_base
Cost: 100,000 updates of about 25,000 source and 25,000 target tokens; 12 hours on the
paper's eight P100s.
Result: not run here.
"""

from transformer.data.batching import Grouped
from transformer.data.sources.tfds import Tfds
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.experiment import Config
from transformer.models.transformer import Transformer
from transformer.tasks.translation import Translation
from transformer.training.keep import Keep
from transformer.training.optimizers import Adam
from transformer.training.schedules import Noam


def get_config() -> Config:
  """Everything that the paper gives, though most of it is the default."""
  return Config(
    data=Tfds("wmt14_translate/de-en", source="en", target="de"),
    model=Transformer(layers=6, d_model=512, d_ff=2048, heads=8, dropout=0.1),
    task=Translation(smoothing=0.1),
    tokenizer=SentencePiece(vocabulary=37_000),
    # "Approximately 25000" (§5.1); rows of every length divide over up to 32 devices.
    batching=Grouped(tokens=24_576),
    optimizer=Adam(beta1=0.9, beta2=0.98, epsilon=1e-9),
    schedule=Noam(warmup=4000),
    steps=100_000,
    eval_every=5000,
    # The paper averages the last 5 checkpoints, written every 10 minutes (§6.1); its
    # updates took 0.4 s.
    save_every=1500,
    keep=Keep(latest=5),
  )
