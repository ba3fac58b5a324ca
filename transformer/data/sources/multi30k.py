"""Multi30k: image captions in English, German and French (Elliott et al. 2016)."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

from etils import epy

from transformer.data.sources.base import Pair, Source, check_split
from transformer.data.sources.parallel_text import digest, read_pairs

with epy.lazy_imports():
  import pooch

COMMIT = "a3d2e0d26b56f3846f66a952536ffed4e401d05a"
URL = f"https://raw.githubusercontent.com/multi30k/dataset/{COMMIT}/data/task1/raw/"
NAMES = {"train": "train", "val": "val", "test": "test_2016_flickr"}
SHA256 = {
  "train.de": "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
  "train.en": "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
  "train.fr": "622e75069e9f4c577425c4f277116ce66e63a2401c0a2312d90073cb12379a3c",
  "val.de": "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
  "val.en": "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
  "val.fr": "ca3106f1a72390591d25f6c45cb4cd39dec4cd3f123e099748a3ce5256c160e9",
  "test_2016_flickr.de": (
    "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8"
  ),
  "test_2016_flickr.en": (
    "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9"
  ),
  "test_2016_flickr.fr": (
    "6d326e188d259fb1d04ac19eae3af956559b3a0b93d7635e56c90987c40c8b90"
  ),
}
"""Of the packed files as published at `COMMIT`."""


@dataclasses.dataclass(frozen=True)
class Multi30k(Source):
  """29,000 training pairs, val, and test_2016_flickr as test.

  Attributes:
    languages: source and target among en, de and fr: `en-de`, `fr-en`, …
    directory: reads `train.en.gz`, `val.en.gz`, `test_2016_flickr.en.gz` and so on
      there instead of fetching the published files once, by checksum, into the user's
      cache.
  """

  languages: str = "en-de"
  directory: str = ""

  def __post_init__(self):
    sides = self.languages.split("-")
    known = set(sides) <= {"en", "de", "fr"}
    if not known or len(sides) != 2 or len(set(sides)) != 2:
      raise ValueError(
        f"Multi30k: languages {self.languages!r}: write two of en, de, fr, as in en-de"
      )

  def files(self, split: str) -> list[Path]:
    """The source and the target file of a split, fetched if need be."""
    check_split(split)
    return [self._file(f"{NAMES[split]}.{side}") for side in self.languages.split("-")]

  def _file(self, name: str) -> Path:
    if self.directory:
      return Path(self.directory) / f"{name}.gz"
    try:
      return Path(
        pooch.retrieve(
          f"{URL}{name}.gz",
          known_hash=f"sha256:{SHA256[name]}",
          fname=f"{name}.gz",
          path=pooch.os_cache("transformer") / "multi30k",
        )
      )
    except (OSError, ValueError) as error:
      reason = str(error).splitlines()[0]
      raise OSError(
        f"Multi30k: {name}.gz cannot be fetched ({reason}); connect, or put the files "
        "into a directory and give --config.data.directory"
      ) from error

  def open(self, split: str) -> Sequence[Pair]:
    return read_pairs(*self.files(split))

  def fingerprint(self, split: str) -> str:
    text = " ".join(digest(path) for path in self.files(split))
    return hashlib.sha256(text.encode()).hexdigest()
