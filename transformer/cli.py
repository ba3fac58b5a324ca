"""The verbs: `transformer VERB RUN …` uses a run that `train.py` made."""

import argparse
import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from transformer import generator

CHUNK = 4096
"""Lines translated at a time, so that files of any size take bounded memory."""


def main(argv: list[str] | None = None) -> int:
  """Runs one verb; an error of the user's is one line and status 1."""
  verbs = parser()
  arguments, rest = verbs.parse_known_args(argv)
  if hasattr(arguments, "overrides"):
    from transformer import config as configs

    arguments.overrides, rest = configs.flags(rest)
  # argparse takes no further texts after a flag by itself.
  if rest and (not hasattr(arguments, "texts") or rest[0].startswith("--")):
    verbs.error(f"unrecognized arguments: {' '.join(rest)}")
  if rest:
    arguments.texts += rest
  from transformer.platform import compilation_cache

  compilation_cache()
  try:
    return arguments.verb(arguments) or 0
  except (ValueError, OSError) as error:
    print(f"error: {error}", file=sys.stderr)
    return 1
  except KeyboardInterrupt:
    print("stopped", file=sys.stderr)
    return 130


def parser() -> argparse.ArgumentParser:
  """All verbs and their flags."""
  top = argparse.ArgumentParser(prog="transformer", description=__doc__)
  verbs = top.add_subparsers(metavar="VERB", required=True)

  def verb(function: Callable, *parts: Callable) -> argparse.ArgumentParser:
    summary = (function.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    new = verbs.add_parser(function.__name__, help=summary, description=summary)
    new.add_argument("run", metavar="RUN", type=Path, help="a run's directory")
    new.set_defaults(verb=function)
    for part in parts:
      part(new)
    return new

  new = verb(translate, search_flags, checkpoint_flag)
  new.add_argument("texts", metavar="TEXT", nargs="*", help="default: standard input")
  new.add_argument("--input", type=Path, help="a file, one text a line")
  new.add_argument("--output", type=Path, help="appears once it is whole")

  new = verb(evaluate, search_flags, checkpoint_flag, json_flag)
  new.add_argument("--split", default="test", help="train, val or test (default)")
  new.add_argument("--source", type=Path, help="own text, one sentence a line")
  new.add_argument("--reference", type=Path, help="its translation")

  generator.flags(verb(generator.generate, checkpoint_flag))

  new = verb(average)
  new.add_argument(
    "--last", type=int, default=5, help="how many checkpoints (default 5, §6.1)"
  )
  new.add_argument("--output", type=Path, help="the new run; default RUN-averaged")

  verb(info, checkpoint_flag, json_flag)
  plan_flags(verbs)
  return top


def plan_flags(verbs) -> None:
  """`plan`, which takes an experiment and no run."""
  summary = (plan.__doc__ or "").split("\n\n")[0].replace("\n", " ")
  new = verbs.add_parser("plan", help=summary, description=summary)
  new.add_argument(
    "config", metavar="CONFIG", type=Path, help="as in train.py --config"
  )
  new.add_argument("--mesh", help="'Mesh(fsdp=4, tensor=2)'; default: the config's")
  new.add_argument("--devices", type=int, default=8, help="how many (default 8)")
  new.add_argument(
    "--device", default="h200", help="h200 (default), a100, v5p, or cpu, this machine"
  )
  json_flag(new)
  new.set_defaults(verb=plan, overrides=[])


def search_flags(new: argparse.ArgumentParser) -> None:
  """How outputs are looked for."""
  new.add_argument(
    "--beam", type=int, default=4, help="live hypotheses; 1 is greedy (default 4)"
  )
  new.add_argument(
    "--alpha", type=float, default=0.6,
    help="length penalty ((5 + n) / 6)^alpha that divides the log-probability of n "
    "tokens, EOS counted (default 0.6)",
  )  # fmt: skip
  new.add_argument(
    "--extra", type=int, default=50,
    help="longest output: that many tokens more than the source (default 50)",
  )  # fmt: skip
  new.add_argument(
    "--batch-size", type=int, default=4096,
    help="source tokens x beam in one batch; changes speed alone (default 4096)",
  )  # fmt: skip


def checkpoint_flag(new: argparse.ArgumentParser) -> None:
  """Which checkpoint to use."""
  new.add_argument("--step", type=int, help="a checkpoint; default: the newest")


def json_flag(new: argparse.ArgumentParser) -> None:
  """Output for programs."""
  new.add_argument("--json", action="store_true", help="one JSON object")


def translate(arguments) -> None:
  """Translates texts, a file or standard input, line by line, in order."""
  from transformer.translator import Translator

  search = search_of(arguments)
  if arguments.texts and arguments.input:
    raise ValueError("give texts or --input, not both")
  translator = Translator.open(
    arguments.run, search, arguments.step, arguments.batch_size
  )
  with contextlib.ExitStack() as stack:
    if arguments.texts:
      chunks: Iterator[list[str]] = iter([arguments.texts])
    else:
      stream = stack.enter_context(source_stream(arguments.input))
      chunks = line_chunks(stream, str(arguments.input or "standard input"))
    out = stack.enter_context(whole_output(arguments.output))
    bar = stack.enter_context(progress_bar(arguments))
    for texts in chunks:
      for text in translator.translate(texts, bar.update):
        # A piece may decode to a line break; a line of output stays one line.
        out.write(text.replace("\n", " ") + "\n")
      out.flush()


def evaluate(arguments) -> None:
  """Scores a run on held-out text, or on own files, with sacreBLEU."""
  import jax
  import jax.numpy as jnp

  from transformer import config as configs
  from transformer.data.sources.text import ParallelText
  from transformer.run import Run, write_whole
  from transformer.tasks.translation import Translation

  search = search_of(arguments)
  run = Run.open(arguments.run)
  data, split = run.config.data, arguments.split
  if bool(arguments.source) != bool(arguments.reference):
    raise ValueError("--source and --reference are given together or not at all")
  if arguments.source:
    files = str(arguments.source), str(arguments.reference)
    data = ParallelText(*files, test_source=files[0], test_target=files[1])
    split = "test"
  data.open(split)
  params = run.params(arguments.step)
  task = run.config.task
  if isinstance(task, Translation):
    task = dataclasses.replace(task, search=search)
  elif arguments.source:
    raise ValueError(f"{run.path}: its task is no translation; leave --source out")
  scores, samples = task.evaluate(
    run.module(), params, data, run.tokenizer, split, run.cache, sys.stderr.isatty()
  )
  record: dict[str, Any] = {
    **scores,
    "split": split,
    "step": arguments.step or run.steps()[-1],
    "search": configs.dump(search),
    "config_sha256": configs.digest(run.config),
    "tokenizer_sha256": run.tokenizer.sha256,
    "data_sha256": data.fingerprint(split),
    "device": jax.devices()[0].device_kind,
    "precision": jnp.dtype(run.config.precision.dtype).name,
  }
  name = "files" if arguments.source else split
  folder = run.path / "evaluations"
  folder.mkdir(exist_ok=True)
  write_whole(folder / f"{name}.json", json.dumps(record, indent=2).encode())
  outputs = "".join(f"{output}\n" for _, output, _ in samples.rows)
  write_whole(folder / f"{name}.txt", outputs.encode())
  show(record, arguments.json)


def average(arguments) -> None:
  """Averages the parameters of the last checkpoints into a new run (§6.1)."""
  import shutil

  from transformer.run import Run
  from transformer.training.checkpoint import Checkpoints, average

  run = Run.open(arguments.run)
  steps = run.steps()
  if not 1 <= arguments.last <= len(steps):
    raise ValueError(
      f"{run.path}: --last {arguments.last}: there are {len(steps)} checkpoints "
      f"({steps}); --config.keep.latest says how many stay"
    )
  output = arguments.output or run.path.with_name(run.path.name + "-averaged")
  if output.exists():
    raise ValueError(f"{output}: already exists; give another --output")
  chosen = steps[-arguments.last :]
  params = average([run.params(step) for step in chosen])
  scratch = output.with_name(f".{output.name}.{os.getpid()}")
  try:
    scratch.mkdir(parents=True)
    for name in ("config.json", "tokenizer.model"):
      shutil.copy(run.path / name, scratch / name)
    with Checkpoints(scratch / "checkpoints") as checkpoints:
      note = {"tokenizer_sha256": run.tokenizer.sha256, "averaged": chosen}
      checkpoints.save_params(chosen[-1], params, note)
    os.replace(scratch, output)
  finally:
    shutil.rmtree(scratch, ignore_errors=True)
  print(f"{output}: the average of steps {', '.join(map(str, chosen))}")


def info(arguments) -> None:
  """Tells what a run is: config, step, number and digest of its parameters."""
  from transformer import config as configs
  from transformer import tree
  from transformer.run import Run

  run = Run.open(arguments.run)
  params = run.params(arguments.step)
  steps = run.steps()
  show(
    {
      "step": arguments.step or steps[-1],
      "checkpoints": steps,
      "parameters": tree.size(params),
      "parameters_sha256": tree.sha256(params),
      "vocabulary": run.tokenizer.size,
      "tokenizer_sha256": run.tokenizer.sha256,
      "config_sha256": configs.digest(run.config),
      "config": configs.dump(run.config),
    },
    arguments.json,
  )


def plan(arguments) -> None:
  """Tells what a training step takes on some devices, before anything runs; settings
  as in train.py, --config.name=value."""
  from transformer import config as configs
  from transformer import experiment
  from transformer import plan as plans

  config = experiment.read(arguments.config)
  for name, text in arguments.overrides:
    config = configs.override(config, name, text)
  mesh = None
  if arguments.mesh:
    mesh = configs.override(config, "mesh", arguments.mesh).mesh
  record = plans.plan(config, arguments.devices, arguments.device, mesh)
  print(json.dumps(record) if arguments.json else plans.text(record))


def search_of(arguments):
  """The search that the flags describe."""
  from transformer.decoding.penalty import Gnmt
  from transformer.tasks.search import Search

  if arguments.batch_size < 1:
    raise ValueError(f"--batch-size: {arguments.batch_size} is less than 1")
  return Search(arguments.beam, Gnmt(arguments.alpha), arguments.extra)


def show(record: dict[str, Any], as_json: bool) -> None:
  """Prints a record, for people or for programs."""
  if as_json:
    print(json.dumps(record, ensure_ascii=False))
    return
  for name, value in record.items():
    if isinstance(value, dict):
      value = json.dumps(value, indent=2, ensure_ascii=False)
    print(f"{name}: {value:.4f}" if isinstance(value, float) else f"{name}: {value}")


def source_stream(path: Path | None) -> contextlib.AbstractContextManager[BinaryIO]:
  """The bytes to translate."""
  if path is None:
    return contextlib.nullcontext(sys.stdin.buffer)
  try:
    return path.open("rb")
  except OSError as error:
    raise OSError(f"{path}: cannot be read ({error.strerror})") from None


def line_chunks(stream: BinaryIO, name: str) -> Iterator[list[str]]:
  """The lines of a stream, some thousand at a time.

  Raises:
    ValueError: a line is not UTF-8.
  """
  chunk: list[str] = []
  for number, line in enumerate(stream, start=1):
    try:
      text = line.decode("utf-8")
    except UnicodeDecodeError as error:
      raise ValueError(
        f"{name}: line {number:,}: invalid UTF-8 (byte {error.start + 1} of the line "
        f"is 0x{line[error.start]:02x}); convert the text to UTF-8"
      ) from None
    chunk.append(text.removesuffix("\n").removesuffix("\r"))
    if len(chunk) == CHUNK:
      yield chunk
      chunk = []
  if chunk:
    yield chunk


class whole_output:
  """Standard output, or a file that appears under its name once it is whole."""

  def __init__(self, path: Path | None):
    self._path = path

  def __enter__(self):
    if self._path is None:
      return sys.stdout
    self._scratch = self._path.with_name(f".{self._path.name}.{os.getpid()}")
    try:
      self._file = self._scratch.open("w", encoding="utf-8", newline="\n")
    except OSError as error:
      raise OSError(f"{self._path}: cannot be written ({error.strerror})") from None
    return self._file

  def __exit__(self, kind, *_):
    if self._path is None:
      return
    self._file.close()
    if kind is None:
      os.replace(self._scratch, self._path)
    else:
      self._scratch.unlink()


def progress_bar(arguments):
  """Sentences so far and a second; not where the outputs themselves are shown."""
  import tqdm

  quiet = not sys.stderr.isatty() or (arguments.output is None and sys.stdout.isatty())
  return tqdm.tqdm(unit=" sentences", disable=quiet or bool(arguments.texts))


if __name__ == "__main__":
  sys.exit(main())
