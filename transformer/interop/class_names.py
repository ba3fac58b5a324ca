"""The names of the classes of a classifier in a Hugging Face directory."""

import collections
from collections.abc import Mapping
from typing import Any


def class_names(config: Mapping[str, Any]) -> tuple[str, ...]:
  """The names in `id2label` of a config.json, in the order of their numbers.

  Where several classes have one name (two of ImageNet's are "crane"), each is followed
  by its number, for names identify classes here.

  Raises:
    ValueError: they are damaged, or the model is not one that predicts one of several
      classes.
  """
  if config.get("problem_type") not in (None, "single_label_classification"):
    raise ValueError(
      f"config.json: problem_type: {config['problem_type']!r} is not covered, only one "
      "class of several, 'single_label_classification'"
    )
  # What the classes write where there are two classes without names.
  labels = config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
  numbers = [str(i) for i in range(len(labels))] if isinstance(labels, dict) else None
  if numbers is None or set(labels) != set(numbers) or not all(
    isinstance(name, str) for name in labels.values()
  ):  # fmt: skip
    raise ValueError(
      "config.json: id2label: expected the name of each class by its number, from 0 on"
    )
  if len(labels) < 2:
    raise ValueError("config.json: id2label: expected 2 classes or more, got 1")
  counts = collections.Counter(labels.values())
  return tuple(
    labels[i] if counts[labels[i]] == 1 else f"{labels[i]} ({i})" for i in numbers
  )
