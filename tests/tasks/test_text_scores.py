"""BLEU of every script: sacreBLEU's tokenizers, and a warning where 13a is the wrong
one."""

import sys
import typing
import urllib.error

import pytest
import sacrebleu
from sacrebleu.metrics import bleu as sacrebleu_bleu

from transformer.tasks import text_scores
from transformer.tasks.translation import Translation

OUTPUTS = ["今天天气很好，我们去公园吧。", "他正在看书。"]
REFERENCES = ["今天天气很好，我们去公园玩吧。", "他在看书。"]


def test_the_names_are_sacrebleus():
  """But for `spm`, which it has deprecated."""
  names = {*typing.get_args(text_scores.BleuTokenizer)}
  assert names == {*sacrebleu_bleu._TOKENIZERS} - {"spm"}


def test_chinese_is_scored_by_characters():
  default = text_scores.text_scores(OUTPUTS, REFERENCES)
  assert default["bleu"] == 0 and "tok:13a" in default["bleu_signature"]
  scores = text_scores.text_scores(OUTPUTS, REFERENCES, "zh")
  own = sacrebleu.BLEU(tokenize="zh").corpus_score(OUTPUTS, [REFERENCES])
  assert scores["bleu"] == own.score > 60
  assert "tok:zh" in scores["bleu_signature"]
  assert scores["chrf"] == default["chrf"]


@pytest.mark.parametrize(
  "text, name",
  [
    ("他在看书。", "zh"),
    ("これは本です。東京へ行きます", "ja-mecab"),
    ("カタカナ", "ja-mecab"),
    ("สวัสดีครับ", "flores200"),
    ("ສະບາຍດີ", "flores200"),
    ("សួស្តី", "flores200"),
    ("မင်္ဂလာပါ", "flores200"),
    ("the word 東京", None),
    ("안녕하세요 세계", None),
    ("Добрый день", None),
    ("2030-09-06", None),
    ("", None),
  ],
)
def test_text_without_spaces_is_noticed(text, name):
  warning = text_scores.spaceless_warning([text])
  assert ("\n" in warning, bool(warning)) == (False, name is not None)
  assert name is None or f"use --tokenize {name} or char" in warning


def test_it_is_said_once_and_only_of_13a(capsys):
  text_scores.print_once.cache_clear()
  text_scores.text_scores(OUTPUTS, REFERENCES, "zh")
  text_scores.text_scores(OUTPUTS, REFERENCES, "char")
  text_scores.text_scores(["one"], ["two"])
  assert capsys.readouterr().err == ""
  for _ in range(3):
    text_scores.text_scores(OUTPUTS, REFERENCES)
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith("bleu: 100% of the references' letters")


def test_what_is_missing_is_one_line(monkeypatch):
  def unreachable(**_):
    raise urllib.error.URLError("no network")

  monkeypatch.setitem(sys.modules, "MeCab", None)
  with pytest.raises(ValueError, match=r"--tokenize: ja-mecab needs .*sacrebleu\[ja\]"):
    text_scores.bleu_metric("ja-mecab")
  monkeypatch.setattr(sacrebleu, "BLEU", unreachable)
  with pytest.raises(
    ValueError, match=r"flores200 needs .*failed \(<urlopen.*char"
  ) as e:
    Translation(tokenize="flores200").check(None)
  assert str(e.value).startswith("--config.task.tokenize: ")
