"""`transformer evaluate`: scores, together with all that they depend on."""

import contextlib
import errno
import hashlib
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

from transformer.cli import flags
from transformer.cli.lines import print_record, progress_bar
from transformer.data.cache import READ_ONLY

IDENTITY = (
  *("data_sha256", "tokenizer_sha256", "config_sha256", "step", "search", "mbr"),
  *("seed", "weights", "bleu_tokenize"),
)
"""What two records of one evaluation have in common, whatever its scores."""

OF_TRANSLATIONS = (
  *("source", "beam", "alpha", "penalty", "extra", "max_length", "min_length"),
  *("suppress", "sample", "seed", "mbr", "tokenize", "source_language"),
  "target_language",
)
"""Flags that say something of translations alone."""

TEXTS = {"sources": ".source.txt", "outputs": ".txt", "references": ".reference.txt"}
"""The texts of a record, and how their files' names end."""


def add_arguments(parser: flags.VerbParser) -> None:
  """What is scored, and the name of the record."""
  flags.add_run(parser)
  parser.add_argument(
    "--split", metavar="SPLIT", help="train, val or test (default test)"
  )
  parser.add_recipe_argument(
    "--data", "data.sources.base:Source",
    "where the run's data is now, if it has been moved",
  )  # fmt: skip
  parser.add_argument(
    "--source", type=Path, metavar="FILE", help="your own text, one sentence per line"
  )
  parser.add_argument(
    "--reference", type=Path, metavar="FILE", help="the translation of --source"
  )
  parser.add_argument(
    "--name", metavar="NAME",
    help="name of the record in RUN/evaluations (default: the split, or the stem of "
    "--source and the start of the texts' digest)",
  )  # fmt: skip
  parser.add_argument(
    "--output", type=Path, metavar="DIRECTORY",
    help="store the record here instead of in RUN/evaluations",
  )  # fmt: skip
  flags.add_search(parser)
  flags.add_sampling(parser)
  flags.add_tokenize(parser, "13a, or as the run's task has it")
  flags.add_batch_size(parser)
  flags.add_weights(parser)
  flags.add_mesh(parser)
  flags.add_languages(parser)
  flags.add_step(parser)
  flags.add_json(parser)


def run(arguments) -> None:
  """Evaluate a run on held-out data; translations also on files of your own.

  Prints the scores, and stores them with the inputs, the outputs and the references
  in RUN/evaluations. Translations are scored with sacreBLEU.
  """
  import jax
  import jax.numpy as jnp

  from transformer import config as configs
  from transformer.data.sources.base import Source
  from transformer.data.sources.parallel_text import ParallelText
  from transformer.runs.run import Run
  from transformer.tasks.translation import Translation

  run = Run.open(arguments.run_path)
  translates = isinstance(run.config.task, Translation)
  if not translates:
    refuse_flags_of_translations(arguments, run)
  data, split = run.config.data, arguments.split or "test"
  for flag, value in (("--data", arguments.data), ("--split", arguments.split)):
    if (arguments.source or arguments.reference) and value is not None:
      raise ValueError(f"give {flag}, or --source and --reference, not both")
  if bool(arguments.source) != bool(arguments.reference):
    raise ValueError("give both --source and --reference, or neither")
  if arguments.data is not None:
    data = configs.parse(arguments.data, Source, "--data")
  scored: dict[str, Any] = {"split": split}
  name = what = split
  if arguments.source:
    check_files(arguments.source, arguments.reference)
    texts = str(arguments.source), str(arguments.reference)
    data = ParallelText(*texts, test_source=texts[0], test_target=texts[1])
    split = "test"
    what = f"{texts[0]}, {texts[1]}"
    scored = {"source": texts[0], "reference": texts[1]}
    name = f"{arguments.source.stem}-{data.fingerprint(split)[:8]}"
  name = arguments.name or name
  if Path(name).name != name or name.startswith("."):
    raise ValueError(f"--name: expected a plain file name, got {name!r}")
  if arguments.output is not None:
    make_directory(arguments.output)
  check_data(data, split, run, what)
  if not arguments.source:
    check_digest(run, data, split, arguments.step)
  evaluate = evaluate_translation if translates else evaluate_task
  record, texts = evaluate(arguments, run, data, split)
  record |= {
    **scored,
    "config_sha256": configs.digest(run.config),
    "tokenizer_sha256": run.vocabulary.sha256,
    "data_sha256": data.fingerprint(split),
    "device": jax.devices()[0].device_kind,
    "weights": arguments.weights,
    "precision": jnp.dtype(run.config.precision.dtype).name,
  }
  files = record_files(name, record, texts)
  try:
    print_record(record, arguments.json)
  finally:  # even where nobody reads what is printed
    default = run.path / "evaluations"
    store(arguments.output, default, name, record, files)


def refuse_flags_of_translations(arguments, run) -> None:
  """Raises ValueError if a flag is given that another task would ignore."""
  for name in OF_TRANSLATIONS:
    if getattr(arguments, name) not in (None, []):
      raise ValueError(
        f"--{name.replace('_', '-')}: the task of {run.path} is "
        f"{type(run.config.task).__name__}, not Translation; leave it out"
      )


def store(
  output: Path | None,
  default: Path,
  name: str,
  record: dict[str, Any],
  files: dict[str, bytes],
) -> None:
  """Writes a record to `output`, or to the run's own directory of records, which may be
  read-only.

  Raises:
    OSError: it cannot be written.
  """
  if output is not None:
    keep_other(output, name, record)
    write_files(output, files)
    return
  try:
    make_directory(default)
    keep_other(default, name, record)
    write_files(default, files)
  except OSError as error:
    if error.errno not in READ_ONLY:
      raise
    print(
      f"{default}: read-only, nothing is stored; name a place with --output DIRECTORY",
      file=sys.stderr,
    )


def make_directory(path: Path) -> None:
  """Makes a directory of records.

  Raises:
    OSError: it cannot be made or written; with the `errno`.
  """
  try:
    path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK):
      raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
  except OSError as error:
    raise cannot_be_written(path, error) from None


def cannot_be_written(path: Path, error: OSError) -> OSError:
  """The error of a record's file or directory, with the `errno` of the cause."""
  result = OSError(f"{path}: cannot be written ({error.strerror})")
  result.errno = error.errno
  return result


def check_files(*paths: Path) -> None:
  """Raises OSError or ValueError if a file of the user's own is missing, or can be read
  once only, as `<(zcat text.gz)`."""
  for path in paths:
    if not path.exists():
      raise FileNotFoundError(f"{path}: no such file; check --source and --reference")
    if not path.is_file():
      raise ValueError(
        f"{path}: not a regular file, and evaluate reads it more than once; write the "
        "text to a file"
      )


def check_data(data, split: str, run, what: str) -> None:
  """Raises an error if the data that a run would be scored on, called `what`, is
  missing or empty."""
  from transformer.tasks.translation import Translation

  try:
    count = len(data.open(split))
  except FileNotFoundError as error:
    other = ""
    if isinstance(run.config.task, Translation):
      other = "; to score other text, give --source and --reference"
    raise FileNotFoundError(
      f"{error}; the data of {run.path} is where it was trained, relative to the "
      f"directory of that command: say with --data where it is now{other}"
    ) from None
  if not count:
    raise ValueError(f"{what}: there is nothing to score, the text is empty")


def check_digest(run, data, split: str, step: int | None) -> None:
  """Raises ValueError if a split is not the one that the run was trained beside."""
  from transformer.runs.run import recorded_digests

  digests: dict[str, str] = {}
  for each in run.steps() if step is None else [step]:
    # What reads the parameters says which are damaged; all have the same digests.
    with contextlib.suppress(ValueError):
      digests = recorded_digests(run.note(each))
  if digests.get(split, digest := data.fingerprint(split)) != digest:
    raise ValueError(
      f"{split}: the text of {data} is not the one of {run.path} when it was trained; "
      "say with --data where that is, or score other text with --source and --reference"
    )


def keep_other(folder: Path, name: str, record: dict[str, Any]) -> None:
  """Gives the record of this name another one, if it is of another text, checkpoint or
  search, and says so."""
  path = folder / f"{name}.json"
  try:
    old = json.loads(path.read_bytes())
    same = all(old.get(key) == record.get(key) for key in IDENTITY)
  except FileNotFoundError:
    return
  except (ValueError, RecursionError, AttributeError):  # no record, or damaged
    same = False
  if same:
    return
  taken = {each.name for each in folder.iterdir()}
  free = next(i for i in itertools.count(1) if f"{name}-{i}.json" not in taken)
  for suffix in (*TEXTS.values(), ".json"):
    if (folder / f"{name}{suffix}").exists():
      os.replace(folder / f"{name}{suffix}", folder / f"{name}-{free}{suffix}")
  print(
    f"{path}: of another text, checkpoint or search; it is now {name}-{free}.json",
    file=sys.stderr,
  )


def evaluate_translation(arguments, run, data, split: str):
  """`(record, texts)` of a translation run; the record has the scores, and the search
  that they depend on."""
  from transformer import config as configs
  from transformer.runs.translator import Translator
  from transformer.tasks.text_scores import text_scores
  from transformer.tasks.translation import corpus_of

  pairs = list(data.open(split))
  run = flags.with_languages(arguments, run)
  search, seed = flags.search_from(arguments), arguments.seed or 0
  tokenize = flags.tokenize_from(arguments) or run.config.task.tokenize
  translator = flags.translator_from(arguments, search)
  corpus = corpus_of(data, split, run.tokenizer, run.cache, progress=False)
  int8 = arguments.weights == "int8"
  devices = translator.searcher.devices
  params = run.params(translator.step, int8, devices)
  loss = run.config.task.held_out_loss(run.module(), params, corpus, devices)
  sources, references = ([pair[side] for pair in pairs] for side in (0, 1))
  with progress_bar(len(pairs)) as bar:
    results = translator.hypotheses(sources, bar.update, seed=seed)
  outputs = [best_text(each, arguments.mbr).replace("\n", " ") for each in results]
  record: dict[str, Any] = {
    "step": translator.step,
    "loss": loss,
    **text_scores(outputs, references, tokenize),
    "bleu_tokenize": tokenize,
  }
  if not search.draws:
    scored_references = translator.score(sources, references)
    record["search_errors"] = count_search_errors(results, scored_references)
  if int8:
    float32 = Translator.open(
      run.path, search, translator.step, arguments.batch_size, devices=devices,
      source_language=arguments.source_language,
      target_language=arguments.target_language,
    )  # fmt: skip
    texts = float32.translate(sources, seed=seed, by_mbr=bool(arguments.mbr))
    outputs_float32 = [text.replace("\n", " ") for text in texts]
    scores = text_scores(outputs_float32, references, tokenize)
    record["bleu_float32"] = scores["bleu"]
    record["bleu_change"] = record["bleu"] - record["bleu_float32"]
  record |= {
    "search": configs.dump(translator.searcher.search),
    "mbr": arguments.mbr,
    "seed": seed if search.draws else None,
  }
  return record, {"sources": sources, "outputs": outputs, "references": references}


def evaluate_task(arguments, run, data, split: str):
  """`(record, texts)` of a run of another task; the texts are those of its evaluation's
  samples."""
  from transformer.tasks.base import EvaluationInputs

  devices = flags.devices_from(arguments)
  params, step = run.checkpoint(arguments.step, arguments.weights == "int8", devices)
  inputs = EvaluationInputs(
    run.module(), params, data, run.vocabulary, split, run.cache,
    sys.stderr.isatty(), devices,
  )  # fmt: skip
  record, samples = run.config.task.evaluate(inputs)
  names = "sources", "outputs", "references"
  return {"step": step, **record}, {
    kind: [row[column] for row in samples.rows] for column, kind in enumerate(names)
  }


def best_text(hypotheses: list, mbr: int | None) -> str:
  """The translation of one sentence: the best of its hypotheses, or with `mbr` the one
  of least Bayes risk."""
  from transformer.decoding import rerank

  texts = [each.text for each in hypotheses]
  if not texts:
    return ""
  return texts[rerank.mbr(texts) if mbr else 0]


def count_search_errors(results: list[list], references: list) -> int:
  """The number of sentences whose reference the model scores above the output.

  Each is a search error: the search missed at least the reference. Other sentences may
  have errors too (Stahlberg and Byrne 2019, who search exhaustively). Both scores are
  float32, computed in two ways, so differences up to 1 in 10,000 are ignored. A
  sentence without an output does not count.
  """
  pairs = [
    (hypotheses[0].score, reference.score)
    for hypotheses, reference in zip(results, references, strict=True)
    if hypotheses
  ]
  return sum(reference > best + 1e-4 * max(1.0, -best) for best, reference in pairs)


def record_files(
  name: str, record: dict, texts: dict[str, list[str]]
) -> dict[str, bytes]:
  """The files of a record: its texts, a line each, and the record itself, to which the
  SHA-256 of outputs and references is added."""
  files = {}
  for kind, suffix in TEXTS.items():
    data = "".join(line.replace("\n", " ") + "\n" for line in texts[kind]).encode()
    files[f"{name}{suffix}"] = data
    if kind != "sources":  # data_sha256 has them
      record[f"{kind}_sha256"] = hashlib.sha256(data).hexdigest()
  files[f"{name}.json"] = json.dumps(record, indent=2).encode()
  return files


def write_files(folder: Path, files: dict[str, bytes]) -> None:
  """Writes the files of a record, the record itself last."""
  from transformer.runs.directory import write_atomic

  for name, data in files.items():
    try:
      write_atomic(folder / name, data)
    except OSError as error:
      raise cannot_be_written(folder / name, error) from None
