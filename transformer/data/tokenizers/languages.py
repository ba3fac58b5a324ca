"""Codes of languages: those that a model uses, and those that a user writes."""

import difflib
from collections.abc import Sequence

from babel.core import get_global


def find_language(code: str, known: Sequence[str], where: str) -> str:
  """The model's own code of a language.

  Args:
    code: as a user writes it: the model's own (`eng_Latn`, `en_XX`, `__en__`,
      `>>deu<<`), the same without signs around it (`deu`), or a code of ISO 639-1, -2
      or -3 without script or region (`en`, `eng`).
    known: the model's codes.
    where: the flag or setting, for messages.

  Raises:
    ValueError: there is no such language, or several.
  """
  plain = _plain(code)
  found = [each for each in known if _plain(each) == plain]
  if not found and "_" not in plain:
    short = _short(plain)
    found = [each for each in known if _short(_plain(each).split("_")[0]) == short]
  if len(found) == 1:
    return found[0]
  if found:
    raise ValueError(f"{where}: {code} may be {' or '.join(found)}; give one of them")
  near = difflib.get_close_matches(plain, [_plain(each) for each in known], 4, 0.5)
  nearest = [each for name in near for each in known if _plain(each) == name] or known
  shown = ", ".join(nearest[:4])
  raise ValueError(
    f"{where}: {code!r} is none of the model's {len(known)} languages; the nearest are "
    f"{shown} (transformer info shows them all)"
  )


def _plain(code: str) -> str:
  """A code in lower case without the signs around it: `deu` for `>>deu<<`."""
  return code.strip("<>_ ").replace("-", "_").lower()


def _short(language: str) -> str:
  """The shortest code of ISO 639 for a language: `de` for `deu`. CLDR's aliases join a
  macrolanguage with its standard member, `ar` with `arb`."""
  return get_global("language_aliases").get(language, language)
