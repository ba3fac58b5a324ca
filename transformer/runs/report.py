"""The report at the end of a run: curves, scores, samples, commands."""

import dataclasses
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from transformer.experiment import Config
from transformer.runs.directory import write_atomic
from transformer.tasks.base import Samples

PANELS = (
  ("loss", "nats per token or example", ("train/loss", "val/loss")),
  ("score", "BLEU, chrF", ("val/bleu", "val/chrf")),
  ("exact match", "share of sentences", ("val/exact_match",)),
  ("accuracy", "share of examples", ("val/accuracy", "val/majority_accuracy")),
)

Rows = list[tuple[int, str, float]]

SAMPLES = "samples.json"
STORED_SAMPLES = 20


def write_samples(path: Path, step: int, samples: Samples) -> None:
  """Writes the first samples of the evaluation after `step` into a run."""
  stored = dataclasses.replace(samples, rows=samples.rows[:STORED_SAMPLES])
  record = {"step": step, "split": "val", **dataclasses.asdict(stored)}
  data = json.dumps(record, ensure_ascii=False, indent=1)
  write_atomic(path / SAMPLES, data.encode())


def write_report(
  path: Path, config: Config, rows: Rows, samples: Samples | None, seconds: float
) -> None:
  """Writes `report.md` and `curves.png` into a run."""
  draw_curves(path / "curves.png", rows)
  last = {name: value for _, name, value in rows}
  scores = {name: value for name, value in last.items() if name.startswith("val/")}
  saved = min(config.keep.latest, -(-config.steps // config.save_every))
  lines = [
    f"# {path.absolute().name}",
    "",
    f"{rows[-1][0] if rows else 0:,} of {config.steps:,} steps; {seconds / 60:.1f} "
    "minutes of training since it was last started, evaluation not counted.",
    "",
    "| held-out score | value |",
    "| --- | --- |",
    *(
      f"| {name.removeprefix('val/')} | {value:.4g} |" for name, value in scores.items()
    ),
    "",
    "![curves](curves.png)",
    "",
  ]
  if samples is not None:
    lines += ["| source | output | reference |", "| --- | --- | --- |"]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in samples.rows[:12]]
    lines.append("")
  lines += [
    "## Use it",
    "",
    "```",
    f'transformer {config.task.verb} {path} "{_example(samples)}"',
    f"transformer evaluate {path} --split test",
    f"transformer average {path} --last {saved}",
    f"transformer info {path}",
    f"tensorboard --logdir {path / 'tensorboard'}    # after pip install tensorboard",
    "```",
    "",
  ]
  (path / "report.md").write_text("\n".join(lines), encoding="utf-8")


def draw_curves(file: Path, rows: Rows) -> None:
  """Loss and scores over steps, one panel each, readable without colour."""
  recorded = {name for _, name, _ in rows}
  panels = [panel for panel in PANELS if recorded & {*panel[2]}] or [*PANELS[:1]]
  size = 4.4 * len(panels), 3.6
  figure, axes = plt.subplots(
    1, len(panels), figsize=size, layout="constrained", squeeze=False
  )
  for axis, (title, unit, names) in zip(axes[0], panels, strict=True):
    for name, style in zip(names, ("-", "--o"), strict=False):
      points = [(step, value) for step, n, value in rows if n == name]
      if points:
        axis.plot(*zip(*points, strict=True), style, label=name, markersize=3)
    axis.set(title=title, xlabel="updates", ylabel=unit)
    axis.grid(alpha=0.3)
    if axis.lines:
      axis.legend()
  figure.savefig(file, dpi=110)
  plt.close(figure)


def _cell(text: str) -> str:
  return text.replace("|", "\\|").replace("\n", " ")


def _example(samples: Samples | None) -> str:
  text = samples.rows[0][0] if samples and samples.rows else "a text"
  if samples and samples.example:
    text = samples.example
  return text.replace('"', '\\"')
