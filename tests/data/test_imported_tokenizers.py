"""Imported tokenizers give the ids and the texts that Hugging Face's classes give, for
1,000 odd lines; `make_tokenizer_fixtures.py` asked those."""

from pathlib import Path

import numpy as np
import pytest

from tests.data.odd_lines import odd_lines
from transformer.batch import BOS, EOS
from transformer.data.text import is_blank
from transformer.data.tokenizers.byte_level import BartTokenizer, GPT2Tokenizer
from transformer.data.tokenizers.files import pack, read_directory, unpack
from transformer.data.tokenizers.multilingual import MBart50Tokenizer, NllbTokenizer
from transformer.data.tokenizers.sentencepieces import M2M100Tokenizer, MarianTokenizer
from transformer.data.tokenizers.t5 import T5Tokenizer
from transformer.data.tokenizers.wordpiece import BertTokenizer

FOLDER = Path(__file__).parent / "tokenizers"

KINDS = {
  "marian": MarianTokenizer(),
  "m2m100": M2M100Tokenizer(),
  "mbart50": MBart50Tokenizer(),
  "mbart50_saved": MBart50Tokenizer(),
  "nllb_saved": NllbTokenizer(),
  "t5": T5Tokenizer(),
  "t5_saved": T5Tokenizer(),
  "bert": BertTokenizer(),
  "bert_cased": BertTokenizer(),
  "bert_saved": BertTokenizer(),
  "gpt2": GPT2Tokenizer(),
  "gpt2_saved": GPT2Tokenizer(),
  "bart": BartTokenizer(),
  "bart_saved": BartTokenizer(),
}
"""The recipe of every folder."""

BEGUN = {BertTokenizer: BOS}
"""What the class puts before a text, and here a task does."""

ENDLESS = (GPT2Tokenizer,)
"""Classes that put no token after a text."""


def rows(expected, kind):
  """The list of arrays that a fixture has as one."""
  ends = np.cumsum(expected[f"{kind}_sizes"])[:-1]
  return np.split(expected[f"{kind}_ids"].astype(np.int64), ends)


def opened(name):
  files = read_directory(FOLDER / name)
  size = max(np.load(FOLDER / name / "expected.npz")["source_ids"].max() + 1, 1)
  recipe = KINDS[name]
  backend_size = recipe.backend(files).size
  config = {"vocab_size": int(max(size, backend_size))}
  return recipe.of_directory(config, files).open(pack(files))


@pytest.mark.parametrize("name", KINDS)
def test_ids_and_texts_are_those_of_the_class(name):
  tokenizer, lines = opened(name), odd_lines()
  with np.load(FOLDER / name / "expected.npz") as expected:
    sources = rows(expected, "source")
    targets = rows(expected, "target") if "target_ids" in expected else sources
    decoded = [
      bytes(row.astype(np.uint8)).decode() for row in rows(expected, "decoded")
    ]
  theirs, kind = np.asarray(tokenizer.order.theirs), type(KINDS[name])
  before = [theirs[BEGUN[kind]]] if kind in BEGUN else []
  for found, wanted in (
    (tokenizer.encode_sources(lines), sources),
    (tokenizer.encode(lines), targets),
  ):
    for line, ids, their_ids in zip(lines, found, wanted, strict=True):
      assert ids[-1] == EOS
      whole = [*before, *theirs[ids[:-1] if kind in ENDLESS else ids]]
      # A blank text is empty here, without the token of its language; there, not.
      if len(ids) > 1:
        assert whole == their_ids.tolist(), repr(line)
      else:
        assert is_blank(line) or len(their_ids) <= 2, repr(line)
  encoded = tokenizer.encode(lines)
  for line, ids, wanted in zip(lines, encoded, decoded, strict=True):
    # An output ends at its first EOS, which the class only leaves out.
    if (ids == EOS).sum() == 1 and not is_blank(line):
      assert tokenizer.decode([ids]) == [wanted], repr(line)


@pytest.mark.parametrize("name", KINDS)
def test_its_files_come_back_as_they_were(name):
  files = read_directory(FOLDER / name)
  assert files and unpack(pack(files)) == files
