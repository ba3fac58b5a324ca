"""How time and memory of our training step grow with the sizes of model and batch.

    python benchmarks/growth.py            # about ten minutes on two cores
    python benchmarks/growth.py --plot-only

Each point is a process of its own. One size grows, and the others stay those of its
series; time is processor seconds for a target token, which other jobs on the machine
change less than the clock's, and memory is the compiler's: the state and the temporary
buffers. Points are appended to a file, from which the newest of each are drawn.
"""

import argparse
import json
import sys
from pathlib import Path

import results
from worker import HERE, Worker

MODEL = dict(layers=3, d_model=128, d_ff=512, heads=4, vocabulary=8000)
TOKENS = 2048
SERIES = {
  "length": [dict(**MODEL, rows=TOKENS // n, length=n) for n in (32, 128, 512, 2048)],
  "layers": [{**MODEL, "layers": n, "rows": 32, "length": 32} for n in (3, 6, 12, 24)],
  "rows": [dict(**MODEL, rows=n, length=32) for n in (8, 32, 128)],
  "vocabulary": [
    {**MODEL, "vocabulary": n, "rows": 16, "length": 32}
    for n in (8000, 32_000, 128_000, 256_000)
  ],
}
LABELS = {
  "length": f"length of a row (batches of {TOKENS:,} tokens)",
  "layers": "layers of encoder and decoder, each (1,024 tokens)",
  "rows": "rows of a batch (32 tokens each)",
  "vocabulary": "vocabulary (512 tokens)",
}


def measure(case: dict, steps: int, repeats: int) -> dict:
  """The least processor milliseconds a target token of several runs of some steps, and
  GiB of memory."""
  case = {**case, "multi30k": None}
  worker = Worker(sys.executable, str(HERE / "ours_training.py"), json.dumps(case))
  answers = [worker.ask({"steps": steps}) for _ in range(repeats)]
  point = {
    "milliseconds": min(1e3 * each["processor"] / each["tokens"] for each in answers),
    **worker.ask({"memory": True}),
  }
  worker.close()
  return point


def newest(path: Path) -> dict[str, dict[int, dict]]:
  """The last point of every series and size in a file of results."""
  points: dict[str, dict[int, dict]] = {series: {} for series in SERIES}
  for line in path.read_text(encoding="utf-8").splitlines():
    record = json.loads(line)
    if record["benchmark"] == "growth":
      points[record["series"]][record["size"]] = record
  return points


def draw(path: Path, points: dict[str, dict[int, dict]]) -> None:
  """A panel for each series: time to the left, memory to the right."""
  from matplotlib.figure import Figure

  figure = Figure(figsize=(9, 6.5), layout="constrained")
  for axis, (series, found) in zip(
    figure.subplots(2, 2).flat, points.items(), strict=True
  ):
    sizes = sorted(found)
    memory = axis.twinx()
    axis.plot(
      sizes, [found[n]["milliseconds"] for n in sizes], "o-", color="black",
      label="time",
    )  # fmt: skip
    memory.plot(
      sizes, [found[n]["state"] + found[n]["temporaries"] for n in sizes], "s--",
      color="0.5", label="memory",
    )  # fmt: skip
    for each in (axis, memory):
      each.set_xscale("log", base=2)
      each.set_yscale("log", base=2)
      each.set_ylim(*limits(each.lines[0].get_ydata()))
      each.yaxis.set_major_formatter("{x:g}")
    axis.set_xticks(sizes, [f"{n:,}" if n < 8000 else f"{n // 1000}k" for n in sizes])
    axis.minorticks_off()
    axis.set_xlabel(LABELS[series])
    axis.set_ylabel("processor ms a target token")
    memory.set_ylabel("memory, GiB")
    axis.grid(alpha=0.3)
    lines = axis.lines[0], memory.lines[0]
    axis.legend(lines, [line.get_label() for line in lines], fontsize="small")
  path.parent.mkdir(parents=True, exist_ok=True)
  figure.savefig(path, dpi=110)


def limits(values) -> tuple[float, float]:
  """Whole powers of two around the values."""
  import math

  low, high = (math.log2(edge) for edge in (min(values), max(values)))
  return 2.0 ** math.floor(low), 2.0 ** math.ceil(high + 1e-9)


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--steps", type=int, default=2, help="steps of a run (default 2)")
  parser.add_argument("--repeats", type=int, default=3, help="runs (default 3)")
  parser.add_argument(
    "--series", nargs="+", choices=SERIES, default=list(SERIES), help="default: all"
  )
  parser.add_argument(
    "--results", type=Path, default=HERE / "results" / "results.jsonl", metavar="FILE",
    help="append the points here, a line of JSON each (default %(default)s)",
  )  # fmt: skip
  parser.add_argument(
    "--plot", type=Path, default=HERE.parent / "docs" / "figures" / "growth.png",
    metavar="FILE", help="where to draw them (default %(default)s)",
  )  # fmt: skip
  parser.add_argument("--plot-only", action="store_true", help="measure nothing")
  arguments = parser.parse_args()
  for series in () if arguments.plot_only else arguments.series:
    for case in SERIES[series]:
      point = measure(case, arguments.steps, arguments.repeats)
      size = case[series]
      results.append(
        arguments.results, "growth", {}, series=series, size=size, case=case, **point
      )
      shown = ", ".join(f"{key} {value:.3f}" for key, value in point.items())
      print(f"{series} {size:,}: {shown}", flush=True)
  draw(arguments.plot, newest(arguments.results))


if __name__ == "__main__":
  main()
