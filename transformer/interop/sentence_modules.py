"""The modules of a sentence-transformers directory: how vectors of tokens become one
vector of a text (Reimers and Gurevych 2019)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from transformer.layers.pooling import FirstToken, Pooling

MODULES = "modules.json"

KINDS = (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])
"""The sequences of modules that are covered."""

POOLINGS: dict[str, Pooling] = {
  "pooling_mode_mean_tokens": Pooling(),
  "pooling_mode_cls_token": FirstToken(),
}
"""Poolings by the setting that turns them on."""


class Module(NamedTuple):
  """One of the modules that a text goes through.

  Attributes:
    kind: the name of its class.
    path: of its folder; empty for the model's own.
    config: its settings.
  """

  kind: str
  path: str
  config: Mapping[str, Any]


def read_modules(directory: Path) -> tuple[Module, ...]:
  """The modules of a directory in their order; none if it is not one of
  sentence-transformers.

  Raises:
    ValueError: a file is damaged, or there are modules that are not covered.
  """
  file = directory / MODULES
  if not file.is_file():
    return ()
  listed = _read(file, list)
  try:
    found = [(entry["type"].split(".")[-1], entry["path"]) for entry in listed]
    kinds = [kind for kind, _ in found]
    plain = all(path in ("", Path(path).name) and path != ".." for _, path in found)
  except (TypeError, KeyError, AttributeError):
    raise ValueError(f"{file}: expected the type and path of each module") from None
  if kinds not in KINDS or not plain:
    raise ValueError(
      f"{file}: the modules {', '.join(kinds)} are not covered; covered are "
      "Transformer, Pooling and then Normalize or nothing, in folders beside it"
    )
  modules = []
  for kind, path in found:
    name = "config.json" if path else "sentence_bert_config.json"
    settings = directory / path / name
    known = settings.is_file()
    modules.append(Module(kind, path, _read(settings, dict) if known else {}))
  return tuple(modules)


def _read(path: Path, kind: type) -> Any:
  try:
    value = json.loads(path.read_text(encoding="utf-8"))
  except (ValueError, RecursionError):
    value = None
  if type(value) is not kind:
    raise ValueError(f"{path}: expected a JSON {kind.__name__}; the file is damaged")
  return value


def pooling(modules: Sequence[Module]) -> Pooling:
  """How vectors are pooled; the mean where there are no modules.

  Raises:
    ValueError: it is done in a way that is not covered.
  """
  for module in modules:
    if module.kind == "Pooling":
      on = [name for name, value in module.config.items()
            if name.startswith("pooling_mode") and value]  # fmt: skip
      if len(on) != 1 or on[0] not in POOLINGS:
        raise ValueError(
          f"{module.path}/config.json: expected one of {', '.join(POOLINGS)}, got "
          f"{', '.join(on) or 'none'}"
        )
      return POOLINGS[on[0]]
  return Pooling()


def normalises(modules: Sequence[Module]) -> bool:
  """Whether vectors are divided by their lengths."""
  return any(module.kind == "Normalize" for module in modules)


def text_length(modules: Sequence[Module], most: int) -> int:
  """The largest number of tokens of a text, special ones counted, of at most `most`.

  Raises:
    ValueError: it is not a number of tokens.
  """
  stated = modules[0].config.get("max_seq_length") if modules else None
  if stated is None:
    return most
  if type(stated) is not int or stated < 3:
    raise ValueError(
      f"sentence_bert_config.json: max_seq_length: expected 3 or more, got {stated!r}"
    )
  return min(stated, most)
