"""Text that people give: what of it is visible, and how it is read."""

import gzip
import io
import sys
import unicodedata

import pytest

from transformer.data import text
from transformer.data.sources.parallel_text import ParallelText
from transformer.data.sources.plain_text import PlainText
from transformer.data.tokenizer import Tokenizer

BLANK = (
  *("", " ", "\t", "\xa0", "\u3000", "\u200b", "\ufeff", "\x00\x1b"),
  *("\u2028\u2029", "\u200d\ufe0f", "\u00ad\u2060", "\uffff"),
  *("\u3164", "\u034f"),
)


@pytest.mark.parametrize("blank", BLANK)
def test_what_has_no_visible_character_is_blank(blank):
  assert text.is_blank(blank) and text.blank_to_empty(blank) == ""


@pytest.mark.parametrize(
  "visible",
  [
    "a",
    ".",
    "\u0301",
    "\u200b.\u200b",
    "👩\u200d💻",
    "\u0600",
    "\ue000",
    "\U000cc000",
    "\ud800",
  ],
)
def test_what_is_drawn_is_not_blank(visible):
  assert not text.is_blank(visible) and text.blank_to_empty(visible) == visible


def test_letters_marks_numbers_punctuation_and_symbols_are_visible():
  """But for those that Unicode says are not drawn."""
  hidden = [
    c
    for c in map(chr, range(sys.maxunicode + 1))
    if unicodedata.category(c)[0] in "LMNPS" and not text.is_visible(c)
  ]
  assert 0 < len(hidden) < 300 and set(hidden) <= text.INVISIBLE


DATA = "\ufeffone\r\n\ufefftwo\u2028\nthree"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_mark_at_the_start_of_a_file_is_no_text(pack, tmp_path):
  lines = list(text.decode_lines(io.BytesIO(pack(DATA.encode())), "name"))
  assert lines == ["one", "\ufefftwo\u2028", "three"]
  for name in ("a", "b"):
    (tmp_path / name).write_bytes(pack(DATA.encode()))
  pairs = ParallelText(*(str(tmp_path / name) for name in "ab" * 2)).open("val")
  assert [pair.source for pair in pairs] == lines
  documents = PlainText((str(tmp_path / "a"),), (str(tmp_path / "b"),)).open("val")
  assert documents[0].startswith("one")


@pytest.mark.parametrize("name", ["a.gz", "a.GZ", "a.Gz", "a"])
def test_gzip_is_known_by_its_first_bytes(name, tmp_path):
  (tmp_path / name).write_bytes(gzip.compress(b"one\n"))
  assert text.read_bytes(tmp_path / name) == b"one\n"


def test_a_file_that_is_not_gzip_is_not_read_as_text(tmp_path):
  for name in ("a.gz", "a.GZ"):
    (tmp_path / name).write_bytes(b"one\n")
    with pytest.raises(ValueError, match=f"{name}: not a gzip file"):
      text.read_bytes(tmp_path / name)
  (tmp_path / "cut").write_bytes(gzip.compress(b"one\n" * 999)[:-9])
  with pytest.raises(ValueError, match="cut: not a whole gzip file"):
    text.read_bytes(tmp_path / "cut")


def test_blank_texts_are_empty_to_training_and_tokenizer(tmp_path, tiny_tokenizer):
  assert isinstance(tiny_tokenizer, Tokenizer)
  empty = tiny_tokenizer.encode([""])[0].tolist()
  for blank in BLANK:
    assert tiny_tokenizer.encode([blank])[0].tolist() == empty
  with pytest.raises(ValueError, match=r"U\+D800 alone at character 1"):
    tiny_tokenizer.encode(["\ud800"])
  (tmp_path / "a").write_text("one\n\u200b\n\xa0\t\n")
  (tmp_path / "b").write_text("eins\nzwei\n\u3000\n")
  pairs = ParallelText(*(str(tmp_path / name) for name in "abab")).open("val")
  assert [tuple(pair) for pair in pairs] == [("one", "eins"), ("", "zwei"), ("", "")]
  files = (str(tmp_path / "a"),)
  assert list(PlainText(files, files, lines=True).open("val")) == ["one"]
