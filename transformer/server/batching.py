"""The queue before the model: requests that wait together share a batch.

One thread computes. Whenever it is free, the text that has waited longest is taken, and
with it others of the same group, which have the same settings and the same padded
length. So nobody waits for a batch to fill, and while one is computed the next one
gathers:

  model   | a        | b c d          | e f …
  queue     b, c, d    e, f (arriving)

Streamed outputs advance between batches.
"""

import collections
import dataclasses
import math
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Protocol

from transformer.server.limits import Limits, Refusal

GATHER_SECONDS = 0.01
"""How long, at most, a batch gathers after one that several requests shared. Their
clients may all ask again at once; without this pause the first one would be computed
alone, and all others would wait for it."""

QUIET_SECONDS = 0.003
"""The pause ends where nothing has come for so long."""

OVERHEAD_ROWS = 6
"""A batch takes about as long as its rows, those of padding counted, and so many more:
however few they are, all parameters are read. Of the paper's base model with a beam of
4, one sentence took 0.61 s on two cores, and 32 took 3.3 s (docs/log.md)."""

STREAM_STEPS = 8
"""Tokens by which each streamed output advances between two batches."""


class Computation(Protocol):
  """What computes the items of a group: see `server.endpoints.base.Endpoint`."""

  def compute(self, settings: Hashable, inputs: Sequence[Any]) -> list[Any]:
    """A result for each input, whatever the others are."""


@dataclasses.dataclass(frozen=True)
class Group:
  """Items of one group may share a batch.

  Attributes:
    by: what computes them.
    settings: of the computation.
    programs: the part of the settings that programs are compiled for.
    shape: padded lengths.
    rows: the declared row counts of its batches, ascending.
  """

  by: Computation
  settings: Hashable
  programs: Hashable
  shape: Hashable
  rows: tuple[int, ...]


@dataclasses.dataclass(eq=False)
class Item:
  """One text of a request.

  Attributes:
    group: those that it may share a batch with.
    input: of the computation.
    done: called in the model's thread with the result, or with an exception.
    request: identifies the request.
  """

  group: Group
  input: Any
  done: Callable[[Any], object] = print
  request: object = None
  number: int = 0
  cancelled: bool = False


@dataclasses.dataclass(eq=False)
class Stream:
  """One output that is streamed.

  Attributes:
    open: starts it, in the model's thread.
    emit: called there with each part, then with None, or with an exception.
    programs: as of `Group`.
  """

  open: Callable[[], Iterator[Any]]
  emit: Callable[[Any], object]
  programs: Hashable = None
  cancelled: bool = False
  parts: Iterator[Any] | None = None


class Batcher:
  """The queue and the thread that computes."""

  def __init__(
    self,
    limits: Limits,
    observe: Callable[[int, float], None],
    forget: Callable[[], None],
  ):
    """Makes an empty queue.

    Args:
      limits: of the texts that wait, and of what is compiled.
      observe: called with the rows and the seconds of every batch.
      forget: called to drop all compiled programs, where there are too many.
    """
    self._limits, self._observe, self._forget = limits, observe, forget
    self._programs: set[Hashable] = set()
    self._changed = threading.Condition()
    self._groups: dict[Group, collections.deque[Item]] = {}
    self._streams: collections.deque[Stream] = collections.deque()
    self._active: list[Stream] = []
    self._number = self._waiting = 0
    self._seconds_per_text = 0.1
    self._closed = False
    self._thread = threading.Thread(target=self._run, name="model", daemon=True)

  def start(self) -> None:
    """Starts the thread."""
    self._thread.start()

  def close(self) -> None:
    """Ends the thread after what it computes now; what waits is dropped."""
    with self._changed:
      self._closed = True
      self._changed.notify()
    self._thread.join()

  @property
  def waiting(self) -> int:
    """Texts and streams that wait."""
    with self._changed:
      return self._waiting + len(self._streams)

  def submit(self, items: Sequence[Item]) -> None:
    """Puts the texts of a request into the queue, all of them or none.

    Raises:
      Refusal: it is full (429), or too short for so many (413).
    """
    with self._changed:
      self._check_room(len(items))
      for item in items:
        self._number += 1
        item.number = self._number
        self._groups.setdefault(item.group, collections.deque()).append(item)
      self._waiting += len(items)
      self._changed.notify()

  def submit_stream(self, stream: Stream) -> None:
    """Puts a stream into the queue.

    Raises:
      Refusal: it is full (429).
    """
    with self._changed:
      self._check_room(1)
      self._streams.append(stream)
      self._changed.notify()

  def cancel(self, items: Sequence[Item]) -> None:
    """Takes items that still wait out of the queue; results of others are dropped."""
    with self._changed:
      for item in items:
        item.cancelled = True
        waiting = self._groups.get(item.group)
        if waiting is not None and item in waiting:
          waiting.remove(item)
          self._waiting -= 1
          if not waiting:
            del self._groups[item.group]

  def cancel_stream(self, stream: Stream) -> None:
    """Takes a stream out of the queue, or ends it at its next token."""
    with self._changed:
      stream.cancelled = True
      if stream in self._streams:
        self._streams.remove(stream)

  def _check_room(self, count: int) -> None:
    occupied, most = self._waiting + len(self._streams), self._limits.queue
    if occupied + count <= most:
      return
    if count > most:
      raise Refusal(
        413,
        f"text: expected at most {most:,} in a request, as many as may wait, got "
        f"{count:,}; send several requests",
      )
    seconds = max(1, math.ceil(occupied * self._seconds_per_text))
    raise Refusal(
      429,
      f"the queue is full ({occupied:,} of {most:,} texts wait); try again "
      f"in {seconds} s",
      {"Retry-After": str(seconds)},
    )

  def _run(self) -> None:
    shared = False
    while True:
      if shared:
        self._gather()
      with self._changed:
        while not (self._closed or self._groups or self._streams or self._active):
          self._changed.wait()
        if self._closed:
          return
        while self._streams and len(self._active) < self._limits.streams:
          self._active.append(self._streams.popleft())
        batch = self._take()
      for used in [stream.programs for stream in self._active]:
        self._use(used)
      self._active = [stream for stream in self._active if advance(stream)]
      if batch:
        self._use(batch[0].group.programs)
        self._compute(batch)
      shared = len({item.request for item in batch}) > 1

  def _use(self, programs: Hashable) -> None:
    """Notes what is compiled. Clients choose the settings, so memory must not grow with
    each that they think of."""
    if programs not in self._programs:
      if len(self._programs) >= self._limits.settings:
        self._forget()
        self._programs.clear()
      self._programs.add(programs)

  def _gather(self) -> None:
    """Waits for the requests that follow a shared batch."""
    deadline = time.monotonic() + GATHER_SECONDS
    with self._changed:
      while time.monotonic() < deadline and not self._closed:
        before = self._number
        self._changed.wait(QUIET_SECONDS)
        if self._number == before:
          return

  def _take(self) -> list[Item]:
    """The next batch."""
    if not self._groups:
      return []
    group = min(self._groups, key=lambda each: self._groups[each][0].number)
    waiting = self._groups[group]
    count = batch_rows(group.rows, len(waiting))
    batch = [waiting.popleft() for _ in range(min(count, len(waiting)))]
    if not waiting:
      del self._groups[group]
    self._waiting -= len(batch)
    return batch

  def _compute(self, batch: list[Item]) -> None:
    start = time.monotonic()
    group = batch[0].group
    for item, result in zip(
      batch, compute(group, [i.input for i in batch]), strict=True
    ):
      if not item.cancelled:
        item.done(result)
    seconds = time.monotonic() - start
    self._seconds_per_text += 0.2 * (seconds / len(batch) - self._seconds_per_text)
    self._observe(len(batch), seconds)


def batch_rows(declared: Sequence[int], waiting: int) -> int:
  """The declared row count at which a text costs least while so many wait: with 1, 8 or
  32 rows, 13 texts are not padded to 32; 8 of them are computed, and the others share
  a batch with those that come meanwhile."""

  def cost(rows: int) -> float:
    return (rows + OVERHEAD_ROWS) / min(rows, waiting)

  return min(reversed(declared), key=cost)


def compute(group: Group, inputs: list[Any]) -> list[Any]:
  """The result of each input, or the exception that it caused.

  An input that cannot be computed, such as an image file that is none, must not spoil
  the others: after an error each is computed by itself.
  """
  try:
    return group.by.compute(group.settings, inputs)
  except Exception as error:
    if len(inputs) == 1:
      return [error]
    return [result for each in inputs for result in compute(group, [each])]


def advance(stream: Stream) -> bool:
  """Advances a streamed output by a few tokens; False when it has ended."""
  try:
    if stream.parts is None:
      stream.parts = stream.open()
    for _ in range(STREAM_STEPS):
      if stream.cancelled:
        return False
      part = next(stream.parts, None)
      stream.emit(part)
      if part is None:
        return False
  except Exception as error:
    stream.emit(error)
    return False
  return True
