"""Heads as a table, a figure and a page."""

import io
import json
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from transformer.inspection.heads import Head, Heads
from transformer.inspection.page import assemble


def as_record(found: Heads) -> dict[str, Any]:
  """Everything as dicts and lists, with the fields of `Heads`."""
  return {
    **found._asdict(),
    "metrics": found.metrics,
    "heads": [each._asdict() for each in found.heads],
  }


def as_json(found: Heads) -> str:
  """Everything as one JSON object."""
  return json.dumps(as_record(found), ensure_ascii=False)


def page(found: Heads) -> str:
  """One HTML file without any other: a heat map for each attention, and the table."""
  return assemble("heads", f"Heads of {found.run}", as_record(found))


def table(found: Heads) -> str:
  """A line for each head, those first whose masking raises the loss most."""
  columns = found.metrics
  head = ["attention", "layer", "head"]
  for metric in columns:
    head += [metric, f"{metric} change"]
  rows = [[*head, "entropy", "distance"], ["(whole model)", "", ""]]
  for metric in columns:
    rows[-1] += [number(found.scores[metric]), ""]
  rows[-1] += ["", ""]
  for each in sorted(found.heads, key=lambda each: -each.change["loss"]):
    row = [each.attention, str(each.layer), str(each.head)]
    for metric in columns:
      row += [number(each.scores[metric]), f"{each.change[metric]:+.4f}"]
    rows.append([*row, number(each.entropy), number(each.distance)])
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return "\n".join(
    "  ".join(
      cell.rjust(width) if i else cell.ljust(width)
      for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ).rstrip()
    for row in rows
  )


def number(value: float | None) -> str:
  """A cell of the table."""
  return "" if value is None else f"{value:.4f}"


def figure(found: Heads) -> bytes:
  """A PNG: for each attention, the change of the loss without each head."""
  groups: dict[str, list[Head]] = {}
  for each in found.heads:
    groups.setdefault(each.attention, []).append(each)
  most = max(abs(each.change["loss"]) for each in found.heads) or 1.0
  layers = max(each.layer for each in found.heads)
  heads = max(each.head for each in found.heads)
  size = 1.2 + len(groups) * (1.0 + 0.5 * heads), 1.6 + 0.5 * layers
  drawn, panels = plt.subplots(
    1, len(groups), figsize=size, squeeze=False, layout="constrained"
  )
  for axes, (name, group) in zip(panels[0], groups.items(), strict=True):
    change_lh = np.array([each.change["loss"] for each in group]).reshape(-1, heads)
    image = axes.imshow(change_lh, cmap="Greys", vmin=0.0, vmax=most)
    for (layer, head), change in np.ndenumerate(change_lh):
      color = "white" if change > 0.55 * most else "black"
      axes.text(head, layer, f"{change:+.2f}", ha="center", va="center", fontsize=7,
                color=color)  # fmt: skip
    axes.set_xticks(range(heads), range(1, heads + 1))
    axes.set_yticks(range(len(change_lh)), range(1, len(change_lh) + 1))
    axes.set(xlabel="head", ylabel="layer")
    axes.set_title(name.replace("_", " "), fontsize=9)
  drawn.colorbar(image, ax=list(panels[0]), label="loss without it, change in nats")
  buffer = io.BytesIO()
  drawn.savefig(buffer, format="png", dpi=150)
  plt.close(drawn)
  return buffer.getvalue()
