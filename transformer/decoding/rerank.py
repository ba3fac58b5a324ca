"""Reranking of finished texts, without the model."""

import collections
import unicodedata
from collections.abc import Sequence

from etils import epy

with epy.lazy_imports():  # `distinct` does without
  import sacrebleu


def mbr(candidates: Sequence[str]) -> int:
  """The index of the candidate most similar to all others: minimum Bayes risk under
  sampled references (Eikema and Aziz 2020), with sacreBLEU's chrF as utility.

  The utility of a candidate is its mean chrF with each other candidate as the
  reference; a text that occurs several times counts that many times. The first
  candidate wins a tie.

  Raises:
    ValueError: there are no candidates.
  """
  if not candidates:
    raise ValueError("candidates: expected 1 or more, got none")
  chrf = sacrebleu.CHRF()
  counts = collections.Counter(candidates)

  def utility(text: str) -> float:
    total = 0.0
    for other, count in counts.items():
      times = count - (other == text)
      if times:
        total += times * chrf.sentence_score(text, [other]).score
    return total

  utilities = {text: utility(text) for text in counts}
  return max(range(len(candidates)), key=lambda i: utilities[candidates[i]])


def distinct(texts: Sequence[str], n: int) -> list[int]:
  """The indices of the first `n` texts without near duplicates; fewer if there are not
  that many.

  Two texts are near duplicates if they differ only in case, in spaces and punctuation
  between words, or in how Unicode writes a character (NFKC).
  """
  first: dict[str, int] = {}
  for i, text in enumerate(texts):
    if len(first) == n:
      break
    first.setdefault(_bare(text), i)
  return list(first.values())


def _bare(text: str) -> str:
  folded = unicodedata.normalize("NFKC", text).casefold()
  # Letters, marks, numbers and symbols stay: `+5 €` is not `5`.
  kept = (c if unicodedata.category(c)[0] in "LMNS" else " " for c in folded)
  return " ".join("".join(kept).split()) or text.strip()
