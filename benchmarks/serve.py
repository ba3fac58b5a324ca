"""The server beside `Translator.translate`: sentences a second, and times to answer.

    make bench-serve                      # the paper's base size, random weights
    make bench-serve ARGS="runs/de-en --clients 1 8 64 --seconds 60"

Starts `transformer serve`, and lets 1, 8 and 64 clients send one sentence after
another, each its next as soon as it has its answer. One client is one at a time. A
second process translates the same sentences by `Translator.translate`, one by one and
all at once, while the server is idle. Rounds repeat all of it, so that other load on
the machine affects all alike. Compilation and loading are not counted. The table also
has the server's processor time for an answer, which other load changes least.

Without a run, the model has the paper's base size and a vocabulary of 32,000. Sentences
have 4 to 60 tokens, 25 on average; random weights end no output, so each is forced to
the length of its source.
"""

import argparse
import asyncio
import itertools
import json
import multiprocessing
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
from results import machine

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

BASE = HERE / ".cache" / "base"
VOCABULARY = 32_000
SENTENCES = 512
TOGETHER = 128
"""Sentences of one call of `Translator.translate`."""


def pseudo_words(count: int) -> list[str]:
  """Different words of two to four syllables."""
  draw = random.Random(0)
  syllables = [a + b + c for a in "bdfgklmnprstvz" for b in "aeiou" for c in ("", "n")]
  words: dict[str, None] = {}
  while len(words) < count:
    words["".join(draw.choices(syllables, k=draw.randint(2, 4)))] = None
  return list(words)


def base_run() -> Path:
  """A run of the base size with random weights, made once."""
  if (BASE / "checkpoints").is_dir() and any((BASE / "checkpoints").iterdir()):
    return BASE
  import jax
  from flax import linen as nn

  from transformer.data.sources.parallel_text import ParallelText
  from transformer.data.tokenizers.sentence_piece import SentencePiece
  from transformer.experiment import Config
  from transformer.models.transformer import Transformer
  from transformer.runs.prepare import prepare

  with tempfile.TemporaryDirectory() as folder:
    text = Path(folder) / "text"
    words, draw = pseudo_words(60_000), random.Random(1)
    lines = [" ".join(draw.sample(words, 12)) for _ in range(20_000)]
    text.write_text("\n".join(lines) + "\n")
    config = Config(
      data=ParallelText(str(text), str(text)),
      model=Transformer(),
      tokenizer=SentencePiece(vocabulary=VOCABULARY),
    )
    run = prepare(config, BASE)
  example = run.config.model.example()
  params = nn.unbox(jax.jit(run.module().init)(jax.random.key(0), example)["params"])
  with run.checkpoints() as checkpoints:
    checkpoints.save_params(1, params, {"tokenizer_sha256": run.vocabulary.sha256})
  return BASE


def sentences_for(run: Path) -> list[str]:
  """Pseudo-words that have about as many tokens as sentences of a text."""
  from transformer.runs.run import Run

  tokenizer, draw = Run.open(run).tokenizer, random.Random(2)
  words = pseudo_words(60_000)
  sizes = (
    np.random.default_rng(3).lognormal(3.1, 0.5, SENTENCES).clip(4, 60).astype(int)
  )
  found = []
  for size in sizes:
    text = draw.choice(words)
    while len(tokenizer.encode([text])[0]) < size:
      text += " " + draw.choice(words)
    found.append(text)
  return found


def every_shape(run: Path, texts: list[str], beam: int) -> list[list[str]]:
  """A batch of each shape that batches of these texts may have."""
  from transformer.inference.search import SOURCE_LENGTHS, declared_shapes
  from transformer.runs.run import Run

  sources = Run.open(run).tokenizer.encode_sources(texts)
  text_of = {
    SOURCE_LENGTHS.round_up(len(ids)): text
    for ids, text in zip(sources, texts, strict=True)
    if len(ids) > 1
  }
  shapes = declared_shapes(max(text_of), tokens=4096, width=beam)
  return [[text_of[n]] * rows for n, rows in sorted(shapes) if n in text_of]


class Alone:
  """`Translator.translate` in a process of its own."""

  def __init__(self, run: Path, settings: dict):
    context = multiprocessing.get_context("spawn")
    self.pipe, other = context.Pipe()
    self.process = context.Process(
      target=translate_alone, args=(run, settings, other), daemon=True
    )
    self.process.start()

  def seconds(self, texts: list[str], together: bool) -> list[float]:
    """The time of each text, or of all of them in one call."""
    self.pipe.send((texts, together))
    return self.pipe.recv()


def translate_alone(run: Path, settings: dict, pipe) -> None:
  """Answers what `Alone` asks."""
  from transformer.runs.translator import Search, Translator

  translator = Translator.open(run, Search(**settings))
  while True:
    texts, together = pipe.recv()
    seconds = []
    for part in [texts] if together else [[text] for text in texts]:
      start = time.perf_counter()
      translator.translate(part)
      seconds.append(time.perf_counter() - start)
    pipe.send(seconds)


class Server:
  """`transformer serve` in a process of its own."""

  def __init__(self, run: Path, settings: dict):
    self.settings = settings
    descriptor, self.log = tempfile.mkstemp(prefix="serve", suffix=".log")
    self.process = subprocess.Popen(
      [sys.executable, "-m", "transformer.cli", "serve", str(run), "--port", "0",
       "--no-warmup"],
      stderr=descriptor, env={**os.environ, "PYTHONPATH": str(HERE.parent)},
    )  # fmt: skip
    while not (found := re.search(r"on (http://\S+)", self.text())):
      if self.process.poll() is not None:
        raise SystemExit(f"transformer serve ended:\n{self.text()}")
      time.sleep(0.1)
    self.url = found[1]

  def text(self) -> str:
    """What it has printed."""
    return Path(self.log).read_text()

  def cpu(self) -> float:
    """Processor seconds that it has used."""
    fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2]
    return sum(map(int, fields.split()[11:13])) / os.sysconf("SC_CLK_TCK")

  async def post(self, client: httpx.AsyncClient, text: str | list[str]) -> None:
    """Has one text or several translated.

    Raises:
      httpx.HTTPStatusError: the server refused.
    """
    body = {"text": text, **self.settings}
    answer = await client.post("translate", json=body)
    answer.raise_for_status()

  async def compile(self, batches: list[list[str]]) -> None:
    """Has these batches translated, each by itself."""
    async with httpx.AsyncClient(base_url=self.url, timeout=3600) as client:
      for texts in batches:
        await self.post(client, texts)

  async def load(self, texts: list[str], clients: int, seconds: float):
    """Answers a second and the time to each, while so many clients ask.

    What is under way at the end is finished and counted; the rate is that of the time
    in which all clients asked.
    """
    times: list[tuple[float, float]] = []
    start = time.perf_counter()
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(
      base_url=self.url, timeout=3600, limits=limits
    ) as client:

      async def ask(number: int) -> None:
        own = itertools.cycle(texts[number::clients])
        while (begin := time.perf_counter()) < start + seconds:
          await self.post(client, next(own))
          times.append((begin, time.perf_counter()))

      await asyncio.gather(*(ask(number) for number in range(clients)))
    rate = sum(end < start + seconds for _, end in times) / seconds
    return rate, [end - begin for begin, end in times]

  def stop(self) -> None:
    """Ends the process."""
    self.process.terminate()
    self.process.wait()
    Path(self.log).unlink()


def measure(server: Server, alone: Alone, texts: list[str], arguments) -> dict:
  """Rates and times of every kind of asking, round by round."""
  found: dict[str, dict[str, list]] = {}

  def note(kind: str, rate: float, times: list[float], cpu: float = 0.0) -> None:
    each = found.setdefault(kind, {"rates": [], "times": [], "cpu": []})
    each["rates"].append(rate)
    each["times"] += times
    if cpu:
      each["cpu"].append(cpu)
    print(f"{kind}: {rate:.2f} sentences/s", file=sys.stderr, flush=True)

  # About as many as one client sends, from the same start.
  few = texts[: max(8, int(4 * arguments.seconds))]
  for _ in range(arguments.rounds):
    times = alone.seconds(few, together=False)
    note("Translator, one by one", len(few) / sum(times), times)
    (seconds,) = alone.seconds(texts[:TOGETHER], together=True)
    note("Translator, all at once", min(len(texts), TOGETHER) / seconds, [])
    for clients in arguments.clients:
      before = server.cpu()
      rate, times = asyncio.run(server.load(texts, clients, arguments.seconds))
      cpu = (server.cpu() - before) / len(times)
      note(f"server, {clients} client{'s' * (clients > 1)}", rate, times, cpu)
  return found


def report(found: dict) -> str:
  """A table in Markdown."""
  one = found.get("server, 1 client", {"rates": []})["rates"]
  lines = ["| | sentences/s | of one at a time | p50 | p95 | p99 | answers | CPU |"]
  lines += ["| --- " * 8 + "|"]
  for kind, each in found.items():
    ratios = [a / b for a, b in zip(each["rates"], one, strict=False)]
    cells = [f"{statistics.median(each['rates']):.2f}"]
    cells += [f"{statistics.median(ratios):.2f}" if ratios else ""]
    if each["times"]:
      cells += [f"{x:.3f} s" for x in np.percentile(each["times"], (50, 95, 99))]
    else:
      cells += [""] * 3
    cells.append(str(len(each["times"]) or ""))
    cells.append(f"{statistics.median(each['cpu']):.2f} s" if each["cpu"] else "")
    lines.append(f"| {kind} | {' | '.join(cells)} |")
  return "\n".join(lines)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
  parser.add_argument("run", type=Path, nargs="?", help="a run that translates")
  parser.add_argument("--input", type=Path, help="a text of one sentence a line")
  parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
  parser.add_argument("--beam", type=int, default=4)
  parser.add_argument("--seconds", type=float, default=60, help="of every measurement")
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--output", type=Path, help="also write all times to a JSON file")
  arguments = parser.parse_args()
  run, settings = arguments.run, {"beam": arguments.beam}
  if run is None:
    run, settings = base_run(), {**settings, "extra": 0}
  if arguments.input is not None:
    texts = arguments.input.read_text(encoding="utf-8").splitlines()
    texts = random.Random(0).sample(texts, min(SENTENCES, len(texts)))
  else:
    texts = sentences_for(run)
  alone, server = Alone(run, settings), Server(run, settings)
  try:
    print("compiling", file=sys.stderr, flush=True)
    batches = every_shape(run, texts, arguments.beam)
    for batch in batches:
      alone.seconds(batch, together=True)
    asyncio.run(server.compile(batches))
    found = measure(server, alone, texts, arguments)
  finally:
    server.stop()
    alone.process.terminate()
  load = f"load average at the end {os.getloadavg()[1]:.1f} (five minutes)"
  print(f"{machine()}; {load}; beam {arguments.beam}\n\n{report(found)}")
  if arguments.output:
    arguments.output.write_text(json.dumps({"machine": machine(), **found}, indent=1))


if __name__ == "__main__":
  main()
