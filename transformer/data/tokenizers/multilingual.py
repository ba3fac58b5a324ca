"""Tokenizers of several languages that the library `tokenizers` runs: NLLB-200 and
mBART-50. The code of a language stands before the text, on both sides."""

import dataclasses
import re
from typing import ClassVar

from transformer.config import Positive
from transformer.data.tokenizers.backend import LibraryBackend, UnigramFile, from_json
from transformer.data.tokenizers.files import Files, require
from transformer.data.tokenizers.imported import Backend, MultilingualTokenizer

_CODES = (
  "ar_AR cs_CZ de_DE en_XX es_XX et_EE fi_FI fr_XX gu_IN hi_IN it_IT ja_XX "
  "kk_KZ ko_KR lt_LT lv_LV my_MM ne_NP nl_XX ro_RO ru_RU si_LK tr_TR vi_VN "
  "zh_CN af_ZA az_AZ bn_IN fa_IR he_IL hr_HR id_ID ka_GE km_KH mk_MK ml_IN "
  "mn_MN mr_IN pl_PL ps_AF pt_XX sv_SE sw_KE ta_IN te_IN th_TH tl_XX uk_UA "
  "ur_PK xh_ZA gl_ES sl_SI"
)

MBART50_LANGUAGES = tuple(_CODES.split())
"""In the order of their ids (Tang et al. 2020)."""


@dataclasses.dataclass(frozen=True)
class NllbTokenizer(MultilingualTokenizer):
  """NLLB-200 (NLLB Team 2022): byte pair encoding, and a code such as `deu_Latn` for
  each of its languages."""

  vocabulary: Positive = 256_206
  names: ClassVar = ("NllbTokenizerFast",)

  def backend(self, files: Files) -> LibraryBackend:
    require(files, "tokenizer.json")
    return from_json(files)

  def languages(self, backend: Backend) -> tuple[str, ...]:
    assert isinstance(backend, LibraryBackend)
    return tuple(t for t in backend.added if re.fullmatch("[a-z]{3}_[A-Z][a-z]{3}", t))


@dataclasses.dataclass(frozen=True)
class MBart50Tokenizer(MultilingualTokenizer):
  """mBART-50 (Tang et al. 2020): a unigram model, and a code such as `de_DE` for each
  of its languages."""

  vocabulary: Positive = 250_054
  names: ClassVar = ("MBart50TokenizerFast",)

  def backend(self, files: Files) -> LibraryBackend:
    if "tokenizer.json" in files:
      return from_json(files)
    require(files, "sentencepiece.bpe.model", instead="tokenizer.json")
    file = UnigramFile(files, "sentencepiece.bpe.model")
    first = ["<s>", "<pad>", "</s>", "<unk>"]
    last = [*MBART50_LANGUAGES, "<mask>"]
    unscored = dict.fromkeys([*first, *last], 0.0)
    pieces = [
      *list(unscored.items())[:4],
      *file.pieces[3:],
      *list(unscored.items())[4:],
    ]
    return file.backend(pieces, "<unk>", [*first, *last], t5=False)

  def languages(self, backend: Backend) -> tuple[str, ...]:
    return tuple(code for code in MBART50_LANGUAGES if backend.id(code) is not None)
