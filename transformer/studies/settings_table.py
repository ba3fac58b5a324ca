"""The settings of several experiments: those that differ, and those that all share."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from transformer import config as configs
from transformer.experiment import Config


def settings_table(all_configs: Sequence[Config]) -> dict[str, Any]:
  """Rows of `path`, `meaning` and `values`, one of each experiment, None where it has
  no such setting: `differ` and `shared`. A recipe's own row has its name alone; its
  settings have theirs."""
  columns = [
    {setting.path: setting for setting in configs.settings(config)}
    for config in all_configs
  ]
  order = [field.name for field in dataclasses.fields(Config)]
  paths = dict.fromkeys(path for column in columns for path in column)
  table: dict[str, list[dict[str, Any]]] = {"differ": [], "shared": []}
  for path in sorted(paths, key=lambda path: order.index(path.partition(".")[0])):
    settings = [column.get(path) for column in columns]
    values = [setting and shown(setting.value) for setting in settings]
    meaning = next(setting.meaning for setting in settings if setting)
    shared = len(set(values)) == 1
    table["shared" if shared else "differ"].append(
      {"path": path, "meaning": meaning, "values": values[:1] if shared else values}
    )
  return table


def shown(value: Any) -> str:
  """A value for a cell: the name of a recipe, or the value as on the command line."""
  recipe = dataclasses.is_dataclass(value) and not isinstance(value, type)
  return type(value).__name__ if recipe else configs.written(value)
