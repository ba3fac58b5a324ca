"""TensorFlow Datasets, read without TensorFlow."""

import contextlib
import dataclasses
import hashlib
import importlib
from collections.abc import Sequence

from transformer.data.sources.base import Pair, Source, check_split

SPLITS = {"train": "train", "val": "validation", "test": "test"}


@dataclasses.dataclass(frozen=True)
class Tfds(Source):
  """A prepared translation set such as `wmt14_translate/de-en`.

  Reading takes random access to ArrayRecord files and no TensorFlow. Preparing, once,
  may take it: `pip install -e '.[tfds]'`, then
  `tfds build wmt14_translate/de-en --file_format=array_record`.

  Attributes:
    name: builder and config.
    source, target: the features to translate from and to.
    directory: where the prepared data lies; TFDS's own place if empty.
  """

  name: str
  source: str = "en"
  target: str = "de"
  directory: str = ""

  def open(self, split: str) -> Sequence[Pair]:
    check_split(split)
    return _Examples(self._builder(), SPLITS[split], self)

  def fingerprint(self, split: str) -> str:
    builder = self._builder()
    info = builder.info.splits[SPLITS[split]]
    text = f"{builder.info.full_name} {info.name} {info.num_examples} {info.num_bytes}"
    return hashlib.sha256(f"{text} {self.source} {self.target}".encode()).hexdigest()

  def _builder(self):
    import tensorflow_datasets as tfds

    name = self.name.partition("/")[0]
    # Older translation sets are registered only when their module is imported.
    with contextlib.suppress(ImportError):
      module = name.removesuffix("_translate")
      importlib.import_module(f"tensorflow_datasets.translate.{module}")
    try:
      builder = tfds.builder(self.name, data_dir=self.directory or None)
    except Exception as error:
      reason = str(error).splitlines()[0][:120]
      raise ValueError(f"Tfds: {self.name}: not known to TFDS ({reason})") from error
    if not builder.info.splits:
      raise FileNotFoundError(
        f"Tfds: {self.name} is not prepared in {builder.data_dir}; prepare it once: "
        f"pip install -e '.[tfds]' && tfds build {self.name} --file_format=array_record"
      )
    return builder


class _Examples(Sequence[Pair]):
  def __init__(self, builder, split: str, recipe: Tfds):
    if split not in builder.info.splits:
      raise ValueError(
        f"Tfds: {recipe.name} has no split {split}; there are "
        f"{', '.join(builder.info.splits)}"
      )
    self._data = builder.as_data_source(split=split)
    self._sides = recipe.source, recipe.target
    features = list(builder.info.features)
    for side in self._sides:
      if side not in features:
        raise ValueError(
          f"Tfds: {recipe.name} has no feature {side!r}; there are {features}"
        )

  def __len__(self) -> int:
    return len(self._data)

  def __getitem__(self, i):
    if isinstance(i, slice):
      return [self[j] for j in range(*i.indices(len(self)))]
    if not 0 <= i < len(self):
      raise IndexError(i)
    example = self._data[i]
    return Pair(*(_text(example[side]) for side in self._sides))


def _text(value) -> str:
  value = value if isinstance(value, bytes) else bytes(value)
  return value.decode("utf-8").rstrip("\n")
