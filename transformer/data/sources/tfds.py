"""TensorFlow Datasets, read without TensorFlow."""

import contextlib
import dataclasses
import hashlib
import importlib
from collections.abc import Sequence

from transformer.data.sources.base import (
  LabelledSource,
  Pair,
  Source,
  TextSource,
  check_split,
)

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
    sides = self.source, self.target
    return _Pairs(open_builder(self.name, self.directory), SPLITS[split], sides)

  def fingerprint(self, split: str) -> str:
    return split_fingerprint(
      self.name, self.directory, split, f"{self.source} {self.target}"
    )


@dataclasses.dataclass(frozen=True)
class TfdsText(TextSource):
  """A prepared set of texts such as `lm1b`; see `Tfds`.

  A set without a split for val or for test gives its other held-out split for both.

  Attributes:
    name: builder and config.
    text: the feature that holds the text.
    directory: where the prepared data lies; TFDS's own place if empty.
  """

  name: str
  text: str = "text"
  directory: str = ""

  def open(self, split: str) -> Sequence[str]:
    check_split(split)
    builder = open_builder(self.name, self.directory)
    return _Texts(builder, present_split(builder, split), (self.text,))

  def fingerprint(self, split: str) -> str:
    return split_fingerprint(self.name, self.directory, split, self.text)


@dataclasses.dataclass(frozen=True)
class TfdsLabelled(LabelledSource):
  """A prepared set of texts with labels such as `glue/sst2`; see `TfdsText`. The labels
  of GLUE's test splits are not published.

  Attributes:
    name: builder and config.
    text, label: the features that hold text and class.
    directory: where the prepared data lies; TFDS's own place if empty.
  """

  name: str
  text: str = "sentence"
  label: str = "label"
  directory: str = ""

  @property
  def classes(self) -> tuple[str, ...]:
    builder = open_builder(self.name, self.directory)
    known = dict(builder.info.features.items())
    names = getattr(known.get(self.label), "names", None)
    if names is None:
      raise ValueError(
        f"Tfds: {builder.info.full_name} has no classes in {self.label!r}; there are "
        f"{list(known)}"
      )
    return tuple(names)

  def open(self, split: str) -> Sequence[str]:
    return TfdsText(self.name, self.text, self.directory).open(split)

  def labels(self, split: str) -> Sequence[int]:
    check_split(split)
    builder = open_builder(self.name, self.directory)
    examples = _Examples(
      builder, present_split(builder, split), (self.text, self.label)
    )
    return [int(examples.raw(i)[self.label]) for i in range(len(examples))]

  def fingerprint(self, split: str) -> str:
    features = f"{self.text} {self.label}"
    return split_fingerprint(self.name, self.directory, split, features)


def open_builder(name: str, directory: str):
  """TFDS's builder of a prepared set.

  Raises:
    ValueError: TFDS does not know it.
    FileNotFoundError: it is not prepared.
  """
  import tensorflow_datasets as tfds

  family = name.partition("/")[0]
  # Older sets are registered only when their module is imported.
  module = family.removesuffix("_translate")
  for room in ("translate", "text"):
    with contextlib.suppress(ImportError):
      importlib.import_module(f"tensorflow_datasets.{room}.{module}")
  try:
    builder = tfds.builder(name, data_dir=directory or None)
  except Exception as error:
    reason = str(error).splitlines()[0][:120]
    raise ValueError(f"Tfds: {name}: not known to TFDS ({reason})") from error
  if not builder.info.splits:
    raise FileNotFoundError(
      f"Tfds: {name} is not prepared in {builder.data_dir}; prepare it once: "
      f"pip install -e '.[tfds]' && tfds build {name} --file_format=array_record"
    )
  return builder


def present_split(builder, split: str) -> str:
  """TFDS's name of a split, or that of the other held-out split where there is none."""
  held_out = {"val": SPLITS["test"], "test": SPLITS["val"]}
  wanted = SPLITS[split]
  return wanted if wanted in builder.info.splits else held_out.get(split, wanted)


def split_fingerprint(name: str, directory: str, split: str, features: str) -> str:
  """A digest of what TFDS says of a split: its version, name, examples and bytes."""
  builder = open_builder(name, directory)
  info = builder.info.splits[present_split(builder, split)]
  text = f"{builder.info.full_name} {info.name} {info.num_examples} {info.num_bytes}"
  return hashlib.sha256(f"{text} {features}".encode()).hexdigest()


class _Examples(Sequence):
  def __init__(self, builder, split: str, sides: tuple[str, ...]):
    if split not in builder.info.splits:
      raise ValueError(
        f"Tfds: {builder.info.full_name} has no split {split}; there are "
        f"{', '.join(builder.info.splits)}"
      )
    self._data = builder.as_data_source(split=split)
    self._sides = sides
    features = list(builder.info.features)
    for side in self._sides:
      if side not in features:
        raise ValueError(
          f"Tfds: {builder.info.full_name} has no feature {side!r}; there are "
          f"{features}"
        )

  def __len__(self) -> int:
    return len(self._data)

  def __getitem__(self, i):
    if isinstance(i, slice):
      return [self[j] for j in range(*i.indices(len(self)))]
    if not 0 <= i < len(self):
      raise IndexError(i)
    example = self.raw(i)
    return self._join(*(_text(example[side]) for side in self._sides))

  def raw(self, i: int):
    """All features of an example."""
    return self._data[i]

  def _join(self, *texts: str):
    raise NotImplementedError


class _Pairs(_Examples):
  def _join(self, *texts: str) -> Pair:
    return Pair(*texts)


class _Texts(_Examples):
  def _join(self, *texts: str) -> str:
    return texts[0]


def _text(value) -> str:
  value = value if isinstance(value, bytes) else bytes(value)
  return value.decode("utf-8").rstrip("\n")
