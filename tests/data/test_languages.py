"""The codes of languages that a user may write, for the codes of each kind of model."""

import pytest

from transformer.data.tokenizers.languages import find_language
from transformer.data.tokenizers.multilingual import MBART50_LANGUAGES
from transformer.data.tokenizers.sentencepieces import M2M100_LANGUAGES

# A part of NLLB-200's codes, in its order.
_NLLB = (
  "ace_Arab ace_Latn arb_Arab deu_Latn ell_Grek eng_Latn est_Latn fra_Latn fuv_Latn "
  "heb_Hebr ind_Latn lvs_Latn nno_Latn nob_Latn pbt_Arab pes_Arab por_Latn quy_Latn "
  "swh_Latn tgl_Latn zho_Hans zho_Hant zsm_Latn"
)

KNOWN = {
  "nllb": tuple(_NLLB.split()),
  "mbart": MBART50_LANGUAGES,
  "m2m": M2M100_LANGUAGES,
  "marian": (">>deu<<", ">>fra<<", ">>por<<", ">>zho_Hans<<", ">>zho_Hant<<"),
}


@pytest.mark.parametrize("kind", KNOWN)
def test_every_code_of_a_model_is_itself(kind):
  for code in KNOWN[kind]:
    assert find_language(code, KNOWN[kind], "--target-language") == code


@pytest.mark.parametrize(
  "kind, codes, expected",
  [
    ("nllb", "en eng EN Eng_latn eng-Latn __en__", "eng_Latn"),
    ("nllb", "de deu ger >>deu<<", "deu_Latn"),
    ("nllb", "zh-Hans zh_Hans zho-hans", "zho_Hans"),
    ("nllb", "ar ara arb", "arb_Arab"),
    ("nllb", "ps pus pbt", "pbt_Arab"),
    ("nllb", "qu que", "quy_Latn"),
    ("nllb", "ff", "fuv_Latn"),
    ("nllb", "fa per", "pes_Arab"),
    ("nllb", "el gre", "ell_Grek"),
    ("nllb", "he iw", "heb_Hebr"),
    ("nllb", "nb", "nob_Latn"),
    ("nllb", "lv", "lvs_Latn"),
    ("nllb", "ms", "zsm_Latn"),
    ("mbart", "en eng en-xx", "en_XX"),
    ("mbart", "zh zho chi zh-CN", "zh_CN"),
    ("mbart", "tl fil", "tl_XX"),
    ("m2m", "en eng __en__", "en"),
    ("m2m", "zh zho", "zh"),
    ("marian", "de deu", ">>deu<<"),
    ("marian", "zh-Hant zho_Hant", ">>zho_Hant<<"),
  ],
)
def test_codes_of_iso_639_are_the_models(kind, codes, expected):
  for code in codes.split():
    assert find_language(code, KNOWN[kind], "--target-language") == expected, code


@pytest.mark.parametrize(
  "kind, code, message",
  [
    ("nllb", "zh", "zh may be zho_Hans or zho_Hant; give one of them"),
    ("marian", "chi", "chi may be >>zho_Hans<< or >>zho_Hant<<; give one of them"),
    ("nllb", "en_XX", "'en_XX' is none of the model's 23 languages; nearest: eng_Latn"),
    ("nllb", "zh-TW", "23 languages; nearest: zho_Hans, zho_Hant"),
    ("mbart", "pt-BR", "'pt-BR' is none of the model's 52 languages; nearest: pt_XX"),
    ("nllb", "deu_Latin", "nearest: deu_Latn"),
    ("nllb", "no", "nearest: nno_Latn, nob_Latn"),
    ("m2m", "klingon", "100 languages, such as af, am, ar, ast"),
    ("m2m", "", "'' is none of the model's 100 languages, such as af, am, ar, ast"),
  ],
)
def test_other_codes_are_refused_with_the_nearest(kind, code, message):
  with pytest.raises(ValueError) as error:
    find_language(code, KNOWN[kind], "--target-language")
  assert str(error.value).startswith("--target-language: ")
  assert message in str(error.value)
