"""`evaluate`: a score together with all that it depends on."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from transformer.cli import flags
from transformer.cli.lines import progress_bar, show


def evaluate_flags(new: flags.Verb) -> None:
  """What to score, and under which name."""
  new.add_argument("--split", default="test", help="train, val or test (default)")
  new.add_argument("--source", type=Path, help="own text, one sentence a line")
  new.add_argument("--reference", type=Path, help="its translation")
  new.add_argument(
    "--name",
    help="of the record in RUN/evaluations (default: the split, or files)",
  )  # fmt: skip


def evaluate(arguments) -> None:
  """Scores a run on held-out data; translations with sacreBLEU, of own files too."""
  import jax
  import jax.numpy as jnp

  from transformer import config as configs
  from transformer.data.sources.parallel_text import ParallelText
  from transformer.runs.run import Run
  from transformer.tasks.translation import Translation

  run = Run.open(arguments.run)
  data, split = run.config.data, arguments.split
  if bool(arguments.source) != bool(arguments.reference):
    raise ValueError("--source and --reference are given together or not at all")
  if arguments.source:
    files = str(arguments.source), str(arguments.reference)
    data = ParallelText(*files, test_source=files[0], test_target=files[1])
    split = "test"
  name = arguments.name or ("files" if arguments.source else split)
  if Path(name).name != name or name.startswith("."):
    raise ValueError(f"--name: {name!r} is no plain file name")
  if isinstance(run.config.task, Translation):
    record, outputs, references = translated(arguments, run, data, split)
  elif arguments.source:
    raise ValueError(f"{run.path}: its task is no translation; leave --source out")
  else:
    record, outputs, references = scored(arguments, run, data, split)
  record |= {
    "split": split,
    "step": arguments.step or run.steps()[-1],
    "config_sha256": configs.digest(run.config),
    "tokenizer_sha256": run.vocabulary.sha256,
    "data_sha256": data.fingerprint(split),
    "device": jax.devices()[0].device_kind,
    "weights": arguments.weights,
    "precision": jnp.dtype(run.config.precision.dtype).name,
  }
  folder = run.path / "evaluations"
  folder.mkdir(exist_ok=True)
  write_record(folder, name, record, outputs, references)
  show(record, arguments.json)


def translated(arguments, run, data, split: str):
  """The scores of a run's translations, with what they depend on; the translations, and
  the references."""
  from transformer import config as configs
  from transformer.runs.translator import Translator
  from transformer.tasks.translation import corpus_of, text_scores

  pairs = list(data.open(split))
  search = flags.search_of(arguments)
  translator = flags.translator_of(arguments, search)
  corpus = corpus_of(data, split, run.tokenizer, run.cache, progress=False)
  int8 = arguments.weights == "int8"
  params = run.params(arguments.step, int8)
  loss = run.config.task.held_out_loss(run.module(), params, corpus)
  sources, references = ([pair[side] for pair in pairs] for side in (0, 1))
  with progress_bar(False, len(pairs)) as bar:
    found = translator.hypotheses(sources, bar.update, seed=arguments.seed)
  outputs = [choose(each, arguments.mbr).replace("\n", " ") for each in found]
  record: dict[str, Any] = {"loss": loss, **text_scores(outputs, references)}
  if not search.draws:
    record["search_errors"] = search_errors(
      found, translator.score(sources, references)
    )
  if int8:
    full = Translator.open(run.path, search, arguments.step, arguments.batch_size)
    texts = full.translate(sources, seed=arguments.seed, by_mbr=bool(arguments.mbr))
    whole = text_scores([text.replace("\n", " ") for text in texts], references)
    record["bleu_float32"] = whole["bleu"]
    record["bleu_change"] = record["bleu"] - record["bleu_float32"]
  record |= {
    "search": configs.dump(search),
    "mbr": arguments.mbr,
    "seed": arguments.seed if search.draws else None,
  }
  return record, outputs, references


def scored(arguments, run, data, split: str):
  """The scores of a run of another task; the outputs that its evaluation shows, and
  what was wanted."""
  data.open(split)
  params = run.params(arguments.step, arguments.weights == "int8")
  record, samples = run.config.task.evaluate(
    run.module(), params, data, run.vocabulary, split, run.cache, sys.stderr.isatty()
  )
  return (
    dict(record),
    [row[1] for row in samples.rows],
    [row[2] for row in samples.rows],
  )


def choose(found: list, mbr: int | None) -> str:
  """The text that stands for what was found for one sentence."""
  from transformer.decoding import rerank as choose

  texts = [each.text for each in found]
  if not texts:
    return ""
  return texts[choose.mbr(texts) if mbr else 0]


def search_errors(found: list[list], references: list) -> int:
  """How many sentences have a reference that the model itself scores above the output.

  Each is a search error, for the search has missed at least that; the others may be
  ones too (Stahlberg and Byrne 2019, who look for the best output of all). Scores are
  float32 and come by two ways, so a difference of 1 in 10,000 does not count. An
  output that does not exist has none.
  """
  pairs = [
    (best[0].score, reference.score)
    for best, reference in zip(found, references, strict=True)
    if best
  ]
  return sum(better > score + 1e-4 * max(1.0, -score) for score, better in pairs)


def write_record(
  folder: Path, name: str, record: dict, outputs: list[str], references: list[str]
) -> None:
  """Writes outputs and references, and last the record, which has their digests."""
  from transformer.runs.directory import write_atomic

  for kind, lines in (("outputs", outputs), ("references", references)):
    data = "".join(line.replace("\n", " ") + "\n" for line in lines).encode()
    suffix = ".txt" if kind == "outputs" else ".reference.txt"
    write_atomic(folder / f"{name}{suffix}", data)
    record[f"{kind}_sha256"] = hashlib.sha256(data).hexdigest()
  write_atomic(folder / f"{name}.json", json.dumps(record, indent=2).encode())
