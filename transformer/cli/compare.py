"""`transformer compare`: whether two scores differ by more than chance."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from transformer import config as configs
from transformer.cli import flags
from transformer.cli.lines import print_record

MUST_AGREE = {
  "bleu_signature": "sacreBLEU signatures",
  "data_sha256": "hashes of the data",
  "references_sha256": "references",
}
"""Items that two records must have in common to be compared, and their names."""


def add_arguments(parser: flags.VerbParser) -> None:
  """Two records."""
  for name in ("a", "b"):
    parser.add_argument(
      name, metavar=name.upper(), type=Path,
      help="run, or a record that evaluate wrote (RUN/evaluations/NAME.json)",
    )  # fmt: skip
  parser.add_argument(
    "--name", metavar="NAME",
    help="name of the record in a run (default test)",
  )  # fmt: skip
  parser.add_argument(
    "--resamples", type=int, default=1000, metavar="N",
    help="number of bootstrap resamples (default 1000)",
  )  # fmt: skip
  flags.add_tokenize(parser, "as both records have it")
  flags.add_json(parser)


def run(arguments) -> None:
  """Test whether B scores differently from A by more than chance.

  Paired bootstrap resampling (Koehn 2004) by sacreBLEU, over the outputs that evaluate
  stored. Both must be translations of the same text, scored in the same way.
  """
  configs.check_at_least("--resamples", arguments.resamples, 2)
  paths, name = (arguments.a, arguments.b), arguments.name or "test"
  if arguments.name is not None and all(path.is_file() for path in paths):
    raise ValueError(
      "--name: of a record in a run, but A and B are records; leave it out"
    )
  a, b = (Evaluation.open(path, name) for path in paths)
  tokenize = flags.tokenize_from(arguments)
  for name, what in MUST_AGREE.items():
    # With another tokenizer both are scored anew.
    if name == "bleu_signature" and tokenize is not None:
      continue
    if a.record[name] != b.record[name]:
      raise ValueError(
        f"{a.path} and {b.path}: their {what} differ ({a.record[name]} and "
        f"{b.record[name]}); only scores of the same text, computed in the same way, "
        "can be compared"
        + ("; --tokenize NAME scores both anew" if name == "bleu_signature" else "")
      )
  record = bootstrap(a, b, arguments.resamples, tokenize)
  if arguments.json:
    print_record(record, True)
  else:
    print(format_table(record))


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """What `transformer evaluate` wrote under one name."""

  path: Path
  record: dict[str, Any]
  outputs: list[str]
  references: list[str]

  @classmethod
  def open(cls, path: Path, name: str) -> "Evaluation":
    """Reads the record `name` of a run, or a record's own file.

    Raises:
      FileNotFoundError: there is no such record.
      ValueError: it is damaged, or its texts are not those that were scored.
    """
    if path.is_dir():
      path = path / "evaluations" / f"{name}.json"
    texts = []
    try:
      record = json.loads(path.read_text(encoding="utf-8"))
      digests = {key: record[key] for key in (*MUST_AGREE, "outputs_sha256")}
      for kind, suffix in (("outputs", ".txt"), ("references", ".reference.txt")):
        file = path.with_suffix(suffix)
        data = file.read_bytes()
        if hashlib.sha256(data).hexdigest() != digests[f"{kind}_sha256"]:
          raise ValueError(
            f"{file}: changed since {path.name} was written; evaluate again"
          )
        texts.append(data.decode().split("\n")[:-1])
    except FileNotFoundError as error:
      raise FileNotFoundError(
        f"{error.filename}: no such file; create it with: transformer evaluate"
      ) from None
    except (
      KeyError,
      TypeError,
      UnicodeDecodeError,
      json.JSONDecodeError,
      RecursionError,
    ) as error:
      raise ValueError(
        f"{path}: not a record of transformer evaluate ({type(error).__name__}: "
        f"{error})"
      ) from None
    return cls(path, record, *texts)


def bootstrap(
  a: Evaluation, b: Evaluation, resamples: int, tokenize: str | None = None
) -> dict[str, Any]:
  """Scores of two evaluations of the same text, each with the mean and half the 95%
  interval of its resamples, and the p-value of their difference; BLEU as the records
  have it, or with another tokenizer.

  Raises:
    ValueError: the installed sacreBLEU scores in another way than the records.
  """
  from transformer.studies.significance import paired_bootstrap
  from transformer.tasks.text_scores import DEFAULT, text_scores

  stored = a.record.get("bleu_tokenize", DEFAULT)
  signature = text_scores(a.outputs, a.references, tokenize or stored)["bleu_signature"]
  if tokenize is None and signature != a.record["bleu_signature"]:
    raise ValueError(
      f"{a.path}: scored with {a.record['bleu_signature']}, but the installed "
      f"sacreBLEU is {signature}; evaluate both again"
    )
  scores = {
    metric: {
      "a": one.a.score, "a_mean": one.a.mean, "a_interval": one.a.interval,
      "b": one.b.score, "b_mean": one.b.mean, "b_interval": one.b.interval,
      "difference": one.b.score - one.a.score,
      "p": one.p,
      "signature": one.signature,
    }
    for metric, one in paired_bootstrap(
      a.outputs, b.outputs, a.references, resamples, tokenize or stored
    ).items()
  }  # fmt: skip
  return {
    "a": str(a.path),
    "b": str(b.path),
    "sentences": len(a.references),
    "resamples": resamples,
    "scores": scores,
  }


def format_table(record: dict[str, Any]) -> str:
  """The record as Markdown."""
  lines = [
    f"A: {record['a']}",
    f"B: {record['b']}",
    f"{record['sentences']:,} sentences, paired bootstrap with {record['resamples']:,} "
    "resamples; score (mean ± half of the 95% interval)",
    "",
    "| metric | A | B | B - A | p |",
    "| --- | --- | --- | --- | --- |",
  ]
  for metric, row in record["scores"].items():
    sides = (
      f"{row[side]:.2f} ({row[f'{side}_mean']:.2f} ± {row[f'{side}_interval']:.2f})"
      for side in ("a", "b")
    )
    cells = [metric, *sides, f"{row['difference']:+.2f}", f"{row['p']:.4f}"]
    lines.append(f"| {' | '.join(cells)} |")
  return "\n".join([*lines, "", *(r["signature"] for r in record["scores"].values())])
