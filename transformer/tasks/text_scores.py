"""BLEU, chrF and exact match of outputs against references, by sacreBLEU."""

import functools
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
from etils import epy

from transformer.printing import print_once
from transformer.tasks.base import Scores

with epy.lazy_imports():  # the task of a run names this module; only scoring needs it
  import sacrebleu

BleuTokenizer = Literal[
  "13a", "intl", "zh", "ja-mecab", "ko-mecab", "char", "flores101", "flores200",
  "spBLEU-1K", "none",
]  # fmt: skip
"""How BLEU divides a text into words, by sacreBLEU's names (Post 2018; the FLORES
models, Goyal et al. 2022)."""

DEFAULT: BleuTokenizer = "13a"

SPACELESS = {
  "CJK": "zh", "HIRAGANA": "ja-mecab", "KATAKANA": "ja-mecab", "THAI": "flores200",
  "LAO": "flores200", "KHMER": "flores200", "MYANMAR": "flores200",
  "TIBETAN": "flores200",
}  # fmt: skip
"""Scripts without spaces between words, by the first word of their characters' Unicode
names, and the tokenizer for each."""


def bleu_metric(tokenize: str, where: str = "--tokenize") -> "sacrebleu.BLEU":
  """sacreBLEU's BLEU; `where` is the flag or setting that names the tokenizer.

  Raises:
    ValueError: the tokenizer needs a package that is not installed, or a download that
      fails.
  """
  try:
    return sacrebleu.BLEU(tokenize=tokenize)
  except RuntimeError as error:
    extra = tokenize.partition("-")[0]
    if "extra dependencies" not in str(error):
      raise
    raise ValueError(
      f"{where}: {tokenize} needs a package that is not installed: "
      f"pip install 'sacrebleu[{extra}]'"
    ) from None
  except OSError as error:
    raise ValueError(
      f"{where}: {tokenize} needs a SentencePiece model, and its download by sacreBLEU "
      f"failed ({error}); char needs none"
    ) from None


def text_scores(
  outputs: Sequence[str], references: Sequence[str], tokenize: str = DEFAULT
) -> Scores:
  """sacreBLEU (Post 2018) with its signature, chrF (Popović 2015), exact match and the
  number of sentences, on raw text.

  Says once on stderr where 13a is used on text without spaces.

  Raises:
    ValueError: as `bleu_metric`.
  """
  bleu = bleu_metric(tokenize)
  if tokenize == DEFAULT and (warning := spaceless_warning(references)):
    print_once(warning)
  chrf = sacrebleu.CHRF()
  score = bleu.corpus_score(outputs, [references])
  same = [o == r for o, r in zip(outputs, references, strict=True)]
  return {
    "exact_match": float(np.mean(same)),
    "bleu": score.score,
    "bleu_signature": str(bleu.get_signature()),
    "chrf": chrf.corpus_score(outputs, [references]).score,
    "sentences": len(outputs),
  }


def spaceless_warning(references: Sequence[str]) -> str:
  """One line if more than half of the letters are of scripts that 13a does not divide
  into words; empty otherwise."""
  scripts = Counter(map(script, "".join(references)))
  letters = sum(scripts.values()) - scripts[""]
  spaceless = {name: scripts[name] for name in SPACELESS if scripts[name]}
  share = sum(spaceless.values()) / max(letters, 1)
  if share <= 0.5:
    return ""
  # Japanese has more kana than Chinese characters, Chinese has none.
  if scripts["HIRAGANA"] + scripts["KATAKANA"] > 0.1 * scripts["CJK"]:
    spaceless.pop("CJK", None)
  best = SPACELESS[max(spaceless, key=lambda name: spaceless[name])]
  return (
    f"bleu: {share:.0%} of the references' letters are of a script without spaces, of "
    f"which 13a takes whole sentences for words; use --tokenize {best} or char "
    "(in training --config.task.tokenize)"
  )


@functools.lru_cache(maxsize=1 << 16)
def script(character: str) -> str:
  """The first word of a letter's Unicode name, such as LATIN or CJK; empty for what is
  no letter."""
  if not unicodedata.category(character).startswith("L"):
    return ""
  return unicodedata.name(character, "").partition(" ")[0]
