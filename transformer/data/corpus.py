"""Text tokenised once, into memory maps with random access."""

import hashlib
import itertools
import json
import os
import secrets
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tqdm

from transformer.batch import BOS, Pairs, TextWithContext, Tokens
from transformer.data.assemble import members, pack_spans, pack_tokens
from transformer.data.batching import Shape
from transformer.data.cache import READ_ONLY, places
from transformer.data.sources.base import Source, TextSource
from transformer.data.tokenizer import Tokenizer

CHUNK = 20_000


class Corpus:
  """Token ids of pairs, or of texts. `corpus[i]` is `(source, target)` or `(text,)`,
  each ending in `EOS`."""

  def __init__(self, tokens_t: np.ndarray, offset_n: np.ndarray, sides: int = 2):
    """All ids one after another, and where each text begins and the last one ends;
    `sides` is how many texts an example has."""
    self.sides = sides
    self._tokens, self._offsets = tokens_t, offset_n

  @classmethod
  def open(cls, directory: Path, sides: int = 2) -> "Corpus":
    """Opens what `build` wrote."""
    # As plain arrays over the maps, which are faster to index.
    return cls(
      np.asarray(np.load(directory / "tokens.npy", mmap_mode="r")),
      np.asarray(np.load(directory / "offsets.npy", mmap_mode="r")),
      sides,
    )

  @classmethod
  def joined(cls, parts: "Sequence[Corpus]") -> "Corpus":
    """The examples of all parts, one part after another."""
    if len(parts) == 1:
      return parts[0]
    ends = np.cumsum([0, *(part._offsets[-1] for part in parts)])
    offsets = [
      part._offsets[:-1] + end for part, end in zip(parts, ends[:-1], strict=True)
    ]
    return cls(
      np.concatenate([part._tokens for part in parts]),
      np.concatenate([*offsets, ends[-1:]]),
      parts[0].sides,
    )

  def __len__(self) -> int:
    return (len(self._offsets) - 1) // self.sides

  def __getitem__(self, i: int) -> tuple[np.ndarray, ...]:
    ends = self._offsets[self.sides * i : self.sides * (i + 1) + 1]
    return tuple(self._tokens[a:b] for a, b in itertools.pairwise(ends))

  @property
  def lengths_n2(self) -> np.ndarray:
    """Tokens of source and target of every pair, int32 `[n, 2]`, `EOS` counted; of
    texts, `[n, 1]`."""
    return np.diff(self._offsets).astype(np.int32).reshape(-1, self.sides)

  @property
  def min_lengths(self) -> tuple[int, ...]:
    """A text of one token is `EOS` alone."""
    return (2,) * self.sides

  def batch(self, shape: Shape, example_bm: np.ndarray) -> Pairs | Tokens:
    """The examples of these numbers, -1 for none: pairs, or texts alone."""
    sides = []
    for side, length in zip(range(self.sides), shape[1:], strict=False):
      number_bm = self.sides * np.maximum(example_bm, 0) + side
      start_bm = self._offsets[number_bm]
      size_bm = np.where(example_bm >= 0, self._offsets[number_bm + 1] - start_bm, 0)
      sides.append(pack_spans(self._tokens, start_bm, size_bm, length))
    return Pairs(*sides) if self.sides == 2 else sides[0]

  @classmethod
  def build(
    cls,
    data: Source,
    split: str,
    tokenizer: Tokenizer,
    cache: Path,
    progress: bool = True,
  ) -> "Corpus":
    """A split of `data`, from `cache` if the very same text was tokenised before.

    The cache's name is a digest of the text and of the tokenizer; it appears whole or
    not at all, and may be deleted at any time. It is in `cache`, or in another of
    `cache.places` where that is read-only.
    """
    text = json.dumps([data.fingerprint(split), split, tokenizer.fingerprint, 2])
    name = hashlib.sha256(text.encode()).hexdigest()[:32]
    for place in places(Path(cache)):
      try:
        if not (place / name).is_dir():
          _build(data, split, tokenizer, place / name, progress)
        return cls.open(place / name, 1 if isinstance(data, TextSource) else 2)
      except OSError as error:
        if error.errno not in READ_ONLY:
          raise
    raise PermissionError(f"{cache}: cannot be written, nor can any other cache")


class Texts:
  """Texts with random access, of which each is an example; `texts[i]` is its ids."""

  min_lengths: tuple[int, ...] = (2,)
  lengths_n2: np.ndarray

  def __len__(self) -> int:
    return len(self.lengths_n2)

  def __getitem__(self, i: int) -> np.ndarray:
    raise NotImplementedError

  def batch(self, shape: Shape, example_bm: np.ndarray) -> Tokens:
    """The texts of these numbers, -1 for none."""
    rows = [[self[i] for i in row] for row in members(example_bm)]
    return pack_tokens(rows, shape.source)


class Pieces(Texts):
  """The texts of a corpus cut into pieces of at most `length` tokens, each an example
  of its own. Only the last piece of a text has its `EOS`.

  Attributes:
    text_n: the index of each piece's text in the corpus, `[n]`.
    start_n: the index of each piece's first token in its text, `[n]`.
  """

  def __init__(self, corpus: Corpus, length: int):
    self._corpus, self._length = corpus, length
    sizes_n = corpus.lengths_n2[:, 0]
    counts_n = -(-sizes_n // length)
    self.text_n = np.repeat(np.arange(len(sizes_n)), counts_n)
    first_n = np.repeat(np.cumsum(counts_n) - counts_n, counts_n)
    self.start_n = (np.arange(len(self.text_n)) - first_n) * length
    self.lengths_n2 = np.minimum(sizes_n[self.text_n] - self.start_n, length)[:, None]

  def __getitem__(self, i: int) -> np.ndarray:
    (ids,) = self._corpus[self.text_n[i]]
    return ids[self.start_n[i] : self.start_n[i] + self._length]


class TextSegments:
  """Segments of texts with the tokens before them: `segments[i]` is `(context, text)`.

  Both are parts of the stream of a text, which is its tokens after `BOS`: up to
  `memory_length` tokens, and then one more than the segment has, so that each token of
  the segment is the next of one that is read. The first segment of a text has no
  context.
  """

  min_lengths = (0, 2)

  def __init__(self, corpus: Corpus, length: int, memory_length: int):
    self._corpus, self._pieces = corpus, Pieces(corpus, length)
    self._length, self._memory_length = length, memory_length
    context_n = np.minimum(self._pieces.start_n, memory_length)
    text_n = self._pieces.lengths_n2[:, 0] + 1
    self.lengths_n2 = np.stack([context_n, text_n], axis=1)

  def __len__(self) -> int:
    return len(self._pieces)

  def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]:
    (ids,) = self._corpus[self._pieces.text_n[i]]
    start = int(self._pieces.start_n[i])
    first = max(0, start - self._memory_length)
    stream = ids[max(0, first - 1) : start + self._length]
    if first == 0:
      stream = np.concatenate([np.array([BOS], ids.dtype), stream])
    return stream[: start - first], stream[start - first :]

  def batch(self, shape: Shape, example_bm: np.ndarray) -> TextWithContext:
    """The segments of these numbers, -1 for none."""
    rows = [[self[i] for i in row] for row in members(example_bm)]
    return TextWithContext(
      pack_tokens([[context for context, _ in row] for row in rows], shape.source),
      pack_tokens([[text for _, text in row] for row in rows], shape.target),
    )


class WithBos(Texts):
  """Texts after `BOS`, cut to `max_length` tokens, `BOS` counted."""

  def __init__(self, texts: Corpus | Texts, max_length: int):
    self._texts, self._max_length = texts, max_length
    self.lengths_n2 = np.minimum(texts.lengths_n2 + 1, max_length)

  def __getitem__(self, i: int) -> np.ndarray:
    example = self._texts[i]
    ids = example[0] if isinstance(example, tuple) else example
    return np.concatenate([np.array([BOS], ids.dtype), ids])[: self._max_length]


def _encode(examples: list, tokenizer: Tokenizer) -> list[np.ndarray]:
  """The ids of every text, or of every source and its target in turn."""
  if not examples or isinstance(examples[0], str):
    return tokenizer.encode(examples)
  sources, targets = zip(*examples, strict=True)
  sides = zip(tokenizer.encode_sources(sources), tokenizer.encode(targets), strict=True)
  return [ids for pair in sides for ids in pair]


def _build(
  data: Source, split: str, tokenizer: Tokenizer, directory: Path, progress: bool
) -> None:
  directory.parent.mkdir(parents=True, exist_ok=True)
  # Not `mkdtemp`, whose directories are the user's alone: others may use the run.
  scratch = directory.with_name(f"unfinished-{secrets.token_hex(8)}")
  scratch.mkdir()
  try:
    _write(data.open(split), split, tokenizer, scratch, progress)
    os.rename(scratch, directory)
  except OSError:
    if not directory.is_dir():  # another process has written it meanwhile
      raise
  finally:
    shutil.rmtree(scratch, ignore_errors=True)


def _write(pairs, split: str, tokenizer: Tokenizer, directory: Path, progress: bool):
  dtype = np.uint16 if tokenizer.size <= 1 << 16 else np.uint32
  sizes: list[np.ndarray] = [np.zeros(1, np.int64)]
  raw = directory / "tokens.raw"
  bar = tqdm.tqdm(
    total=len(pairs), desc=f"tokenise {split}", unit=" examples", leave=False,
    disable=not (progress and sys.stderr.isatty()),
  )  # fmt: skip
  with bar, raw.open("wb") as out:
    for start in range(0, len(pairs), CHUNK):
      span = range(start, min(start + CHUNK, len(pairs)))
      ids = _encode([pairs[i] for i in span], tokenizer)
      sizes.append(np.fromiter(map(len, ids), np.int64, len(ids)))
      out.write(np.concatenate(ids).astype(dtype).tobytes())
      bar.update(len(span))
  offsets = np.cumsum(np.concatenate(sizes))
  np.save(directory / "offsets.npy", offsets)
  tokens = np.lib.format.open_memmap(
    directory / "tokens.npy", mode="w+", dtype=dtype, shape=(int(offsets[-1]),)
  )
  if len(tokens):
    tokens[:] = np.memmap(raw, dtype, mode="r")
  tokens.flush()
  raw.unlink()
