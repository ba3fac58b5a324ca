"""Codes of languages: those that a model uses, and those that a user writes."""

import difflib
from collections.abc import Sequence

from etils import epy

with epy.lazy_imports():
  import babel.core

MACROLANGUAGES = {"fuv": "ff", "pbt": "ps", "quy": "qu"}
"""Languages of NLLB-200 that CLDR's aliases do not join with their macrolanguage of ISO
639-3: Fulah, Pashto, Quechua."""


def find_language(code: str, known: Sequence[str], where: str) -> str:
  """The model's own code of a language.

  Args:
    code: as a user writes it: the model's own (`eng_Latn`, `en_XX`, `__en__`,
      `>>deu<<`), or a language of ISO 639-1, -2 or -3 (`en`, `eng`), with the model's
      script or region after it where it has several of that language (`zh-Hans`).
    known: the model's codes.
    where: the flag or setting, for messages.

  Raises:
    ValueError: there is no such language, or several.
  """
  language, tag = _parts(code)
  found = [each for each in known if _plain(each) == _plain(code)]
  same = [each for each in known if _parts(each)[0] == language]
  found = found or [each for each in same if tag in ("", _parts(each)[1])]
  if len(found) == 1:
    return found[0]
  if found:
    raise ValueError(f"{where}: {code} may be {' or '.join(found)}; give one of them")
  nearest = same or _nearest(code, known)
  shown = ", ".join((nearest or known)[:4])
  raise ValueError(
    f"{where}: {code!r} is none of the model's {len(known)} languages"
    f"{'; nearest: ' if nearest else ', such as '}{shown} "
    "(transformer info shows them all)"
  )


def _nearest(code: str, known: Sequence[str]) -> list[str]:
  """Codes that are written alike, as a whole or without script and region."""
  plain = _plain(code)
  scores = {
    each: max(
      difflib.SequenceMatcher(None, plain, name).ratio()
      for name in (_plain(each), _plain(each).split("_")[0])
    )
    for each in known
  }
  likely = [each for each in known if scores[each] >= 0.6]
  return sorted(likely, key=lambda each: -scores[each])


def _plain(code: str) -> str:
  """A code in lower case without the signs around it: `deu` for `>>deu<<`."""
  return code.strip("<>_ ").replace("-", "_").lower()


def _parts(code: str) -> tuple[str, str]:
  """A code's language, as the shortest code of ISO 639, and what follows it: `zh` and
  `hans` for `zho_Hans`. CLDR's aliases join a macrolanguage with its standard member,
  `ar` with `arb`."""
  language, _, tag = _plain(code).partition("_")
  language = babel.core.get_global("language_aliases").get(language, language)
  return MACROLANGUAGES.get(language, language), tag
