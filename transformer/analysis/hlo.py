"""The collectives of a compiled program, read from its optimised HLO."""

import math
import re
from typing import NamedTuple

import numpy as np


class Collective(NamedTuple):
  """A collective operation of a step, as often as it runs.

  Attributes:
    kind: `all-reduce`, `all-gather`, …
    times: how often a step runs it.
    group: how many devices take part together.
    spread: how many neighbouring devices, by number, its widest group reaches over.
    payload: bytes of its result on one device, over all runs.
    sent: bytes that one device sends in a ring, over all runs.
  """

  kind: str
  times: int
  group: int
  spread: int
  payload: int
  sent: float


KINDS = (
  "all-reduce",
  "all-gather",
  "reduce-scatter",
  "all-to-all",
  "collective-permute",
)
_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_COLLECTIVE = re.compile(rf"= (.+?) ({'|'.join(KINDS)})\(")
_CALLED = re.compile(r"(body|calls|to_apply|condition|\w+_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_ARRAY = re.compile(r"\b(pred|bf16|[a-z]\d+(?:e\d+m\d+\w*)?)\[([\d,]*)\]")


def collectives(hlo: str, devices: int) -> tuple[list[Collective], int]:
  """The collectives of a compiled program, and how many loops with collectives in them
  have a length that is not known.

  Args:
    hlo: its optimised HLO as text.
    devices: how many it was compiled for.
  """
  own: dict[str, list[Collective]] = {}
  calls: dict[str, list[tuple[str, int, bool]]] = {}
  entry = here = ""
  for line in hlo.splitlines():
    header = _HEADER.match(line)
    if header:
      here = header[2]
      entry = here if header[1] else entry
      own[here], calls[here] = [], []
      continue
    if not here:
      continue
    found = _COLLECTIVE.search(line)
    if found:
      own[here].append(_collective(found[2], found[1], line, devices))
    looping = " while(" in line
    trips = _TRIPS.search(line) if looping else None
    times = int(trips[1]) if trips else 1
    for _, name in _CALLED.findall(line):
      calls[here].append((name, times, looping and not trips))
    for names in _BRANCHES.findall(line):
      calls[here] += [(name.strip(" %"), 1, False) for name in names.split(",")]
  known: dict[str, tuple[list[Collective], int]] = {}

  def total(name: str) -> tuple[list[Collective], int]:
    if name not in known:
      found, unknown = list(own.get(name, [])), 0
      for callee, times, endless in calls.get(name, []):
        inner, lost = total(callee)
        found += [repeated(one, times) for one in inner]
        unknown += lost + (endless and bool(inner))
      known[name] = found, unknown
    return known[name]

  return total(entry)


def repeated(one: Collective, times: int) -> Collective:
  """A collective that runs so many times as often."""
  return one._replace(
    times=one.times * times, payload=one.payload * times, sent=one.sent * times
  )


def _collective(kind: str, shape: str, line: str, devices: int) -> Collective:
  members = groups(line, devices)
  group = len(members[0])
  payload = sum(
    width(dtype) * math.prod(map(int, filter(None, sizes.split(",")))) // 8
    for dtype, sizes in _ARRAY.findall(shape)
  )
  share = {
    "all-reduce": 2 * (group - 1) / group,
    "all-gather": (group - 1) / group,
    "reduce-scatter": group - 1.0,
    "all-to-all": (group - 1) / group,
    "collective-permute": 1.0,
  }[kind]
  spread = max(max(group) - min(group) + 1 for group in members)
  return Collective(kind, 1, group, spread, payload, share * payload)


def width(dtype: str) -> int:
  """Bits of a number."""
  digits = re.search(r"\d+", dtype)
  return int(digits[0]) if digits else 8


def groups(line: str, devices: int) -> list[list[int]]:
  """Which devices take part together, of an operation's line of HLO.

  Raises:
    ValueError: they are written in a way that is not known here.
  """
  pairs = re.search(r"source_target_pairs=\{(.*?)\}\}", line)
  if pairs:
    return _lists(pairs[1])
  listed = re.search(r"replica_groups=\{(\{.*?\})\}", line)
  if listed:
    return _lists(listed[1])
  if "replica_groups={}" in line:
    return [list(range(devices))]
  counted = re.search(
    r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", line
  )
  if counted:
    shape, grid = _numbers(counted[1]), _numbers(counted[2])
    order = _numbers(counted[3]) if counted[3] else None
    numbers = np.arange(math.prod(grid)).reshape(grid)
    return numbers.transpose(order).reshape(shape).tolist()
  named = re.search(
    r"replica_groups=mesh\[(?P<axes>.*?)\]"
    r"(, device_ids=\((\[(?P<grid>[\d,]+)\](T\((?P<order>[\d,]+)\))?"
    r"|(?P<ids>[\d,]+))\))?"
    r" \{(?P<inner>.*?)\}",
    line,
  )
  if named:
    sizes = {name: int(n) for name, n in re.findall(r"'(\w+)'=(\d+)", named["axes"])}
    numbers = np.arange(math.prod(sizes.values()))
    if named["ids"]:
      numbers = np.array(_numbers(named["ids"]))
    if named["grid"]:
      order = _numbers(named["order"]) if named["order"] else None
      numbers = numbers.reshape(_numbers(named["grid"])).transpose(order)
    return _along(numbers.ravel(), sizes, named["inner"])
  groups_match = re.search(r"(replica_groups|source_target_pairs)=.{0,80}", line)
  raise ValueError(
    f"plan: groups of devices not understood: {groups_match and groups_match[0]}"
  )


def _along(numbers: np.ndarray, sizes: dict[str, int], inner: str) -> list[list[int]]:
  """Groups along some axes of a mesh; `'a':(2)4` is a part of an axis, four wide,
  inside two of what comes before it."""
  parts = {
    name: (int(before or 1), int(part or sizes[name]))
    for name, before, part in re.findall(r"'(\w+)'(?::\((\d+)\)(\d+))?", inner)
  }
  shape: list[int] = []
  chosen: dict[str, int] = {}
  for name, whole in sizes.items():
    before, part = parts.get(name, (1, 1))
    chosen[name] = len(shape) + 1
    shape += [before, part, whole // (before * part)]
  order = [chosen[name] for name in parts]
  outer = [axis for axis in range(len(shape)) if axis not in order]
  numbers = numbers.reshape(shape).transpose(outer + order)
  return numbers.reshape(-1, math.prod(part for _, part in parts.values())).tolist()


def _numbers(text: str) -> list[int]:
  return [int(n) for n in text.split(",")]


def _lists(text: str) -> list[list[int]]:
  return [_numbers(part) for part in re.findall(r"\d[\d,]*", text.replace("},{", " "))]
