"""Text tokenised once, into memory maps with random access."""

import hashlib
import itertools
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import tqdm

from transformer.batch import BOS
from transformer.data.sources.base import Source, TextSource
from transformer.data.tokenizer import Tokenizer

CHUNK = 20_000


class Corpus:
  """Token ids of pairs, or of texts. `corpus[i]` is `(source, target)` or `(text,)`,
  each ending in `EOS`."""

  def __init__(self, directory: Path, sides: int = 2):
    """Opens what `build` wrote; `sides` is how many texts an example has."""
    self.sides = sides
    self._tokens = np.load(directory / "tokens.npy", mmap_mode="r")
    self._offsets = np.load(directory / "offsets.npy", mmap_mode="r")

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
    not at all, and may be deleted at any time.
    """
    text = json.dumps([data.fingerprint(split), split, tokenizer.sha256, 1])
    directory = Path(cache) / hashlib.sha256(text.encode()).hexdigest()[:32]
    if not directory.is_dir():
      directory.parent.mkdir(parents=True, exist_ok=True)
      scratch = Path(tempfile.mkdtemp(dir=directory.parent, prefix="unfinished-"))
      try:
        _write(data.open(split), split, tokenizer, scratch, progress)
        os.rename(scratch, directory)
      except OSError:
        if not directory.is_dir():  # another process may have been quicker
          raise
      finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return cls(directory, 1 if isinstance(data, TextSource) else 2)


class Pieces:
  """The texts of a corpus cut into pieces of at most `length` tokens, each an example
  by itself: `pieces[i]` is `(ids,)`. Only the last piece of a text has its `EOS`."""

  sides = 1

  def __init__(self, texts: Corpus, length: int):
    self._texts, self._length = texts, length
    sizes_n = texts.lengths_n2[:, 0]
    counts_n = -(-sizes_n // length)
    self._text = np.repeat(np.arange(len(sizes_n)), counts_n)
    before = np.repeat(np.cumsum(counts_n) - counts_n, counts_n)
    self._start = (np.arange(len(self._text)) - before) * length
    self.lengths_n2 = np.minimum(sizes_n[self._text] - self._start, length)[:, None]

  def __len__(self) -> int:
    return len(self._text)

  def __getitem__(self, i: int) -> tuple[np.ndarray, ...]:
    (ids,) = self._texts[self._text[i]]
    return (ids[self._start[i] : self._start[i] + self._length],)


class Continuations(Pieces):
  """Pieces with what stands before them: `continuations[i]` is `(before, text)` of the
  stream that a text makes after `BOS`, up to `before` tokens and then one more than the
  piece has, so that each of the piece follows one that is read."""

  sides = 2

  def __init__(self, texts: Corpus, length: int, before: int):
    super().__init__(texts, length)
    self._before = before
    # A first piece has nothing before it; batching wants two tokens on either side.
    known_n = np.maximum(np.minimum(self._start, before), 2)
    self.lengths_n2 = np.stack([known_n, self.lengths_n2[:, 0] + 1], axis=1)

  def __getitem__(self, i: int) -> tuple[np.ndarray, ...]:
    (ids,) = self._texts[self._text[i]]
    start = int(self._start[i])
    first = max(0, start - self._before)
    stream = ids[max(0, first - 1) : start + self._length]
    if first == 0:
      stream = np.concatenate([np.array([BOS], ids.dtype), stream])
    return stream[: start - first], stream[start - first :]


class Begun:
  """The examples of a corpus of texts, each after `BOS` and cut to `most` tokens with
  it: `begun[i]` is `(ids,)`."""

  sides = 1

  def __init__(self, texts: Corpus | Pieces, most: int):
    self._texts, self._most = texts, most
    self.lengths_n2 = np.minimum(texts.lengths_n2 + 1, most)

  def __len__(self) -> int:
    return len(self._texts)

  def __getitem__(self, i: int) -> tuple[np.ndarray]:
    (ids,) = self._texts[i]
    return (np.concatenate([np.array([BOS], ids.dtype), ids])[: self._most],)


def _write(pairs, split: str, tokenizer: Tokenizer, directory: Path, progress: bool):
  dtype = np.uint16 if tokenizer.size <= 1 << 16 else np.uint32
  sizes: list[np.ndarray] = [np.zeros(1, np.int64)]
  raw = directory / "tokens.raw"
  bar = tqdm.tqdm(
    total=len(pairs), desc=f"tokenise {split}", unit=" examples", leave=False,
    disable=not progress,
  )  # fmt: skip
  with bar, raw.open("wb") as out:
    for start in range(0, len(pairs), CHUNK):
      span = range(start, min(start + CHUNK, len(pairs)))
      sides = ((pairs[i],) if isinstance(pairs[i], str) else pairs[i] for i in span)
      ids = tokenizer.encode([text for texts in sides for text in texts])
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
