"""`compare`: is one score better than another by more than chance?"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from transformer.cli import flags
from transformer.cli.lines import show

SAME = {
  "bleu_signature": "their sacreBLEU signatures",
  "data_sha256": "the hashes of their data",
  "references_sha256": "their references",
}
"""What two records must share to be compared."""


def compare_flags(new: flags.Verb) -> None:
  """Two records."""
  for name in ("a", "b"):
    new.add_argument(
      name, metavar=name.upper(), type=Path,
      help="a run, or a record that evaluate wrote (RUN/evaluations/NAME.json)",
    )  # fmt: skip
  new.add_argument(
    "--name", default="test", help="of the record in a run (default test)"
  )
  new.add_argument(
    "--resamples", type=int, default=1000, metavar="N", help="default 1000"
  )


def compare(arguments) -> None:
  """Tells whether B scores otherwise than A by more than chance.

  Paired bootstrap resampling (Koehn 2004) by sacreBLEU, over the outputs that evaluate
  stored. Scores of other text, or made in another way, are refused.
  """
  if arguments.resamples < 2:
    raise ValueError(f"--resamples: {arguments.resamples} is less than 2")
  a, b = (Evaluation.open(path, arguments.name) for path in (arguments.a, arguments.b))
  for name, what in SAME.items():
    if a.record[name] != b.record[name]:
      raise ValueError(
        f"{a.path} and {b.path}: {what} differ ({a.record[name]} and "
        f"{b.record[name]}); only scores of one text, made in one way, can be compared"
      )
  record = bootstrap(a, b, arguments.resamples)
  if arguments.json:
    show(record, True)
  else:
    print(table(record))


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """What `evaluate` has written under one name."""

  path: Path
  record: dict[str, Any]
  outputs: list[str]
  references: list[str]

  @classmethod
  def open(cls, path: Path, name: str) -> "Evaluation":
    """Reads the record `name` of a run, or a record's own file.

    Raises:
      FileNotFoundError: there is none.
      ValueError: it is damaged, or its outputs are not those that were scored.
    """
    if path.is_dir():
      path = path / "evaluations" / f"{name}.json"
    texts = []
    try:
      record = json.loads(path.read_text(encoding="utf-8"))
      wanted = {key: record[key] for key in (*SAME, "outputs_sha256")}
      for kind, suffix in (("outputs", ".txt"), ("references", ".reference.txt")):
        file = path.with_suffix(suffix)
        data = file.read_bytes()
        if hashlib.sha256(data).hexdigest() != wanted[f"{kind}_sha256"]:
          raise ValueError(f"{file}: not what {path.name} was made of; evaluate again")
        texts.append(data.decode().split("\n")[:-1])
    except FileNotFoundError as error:
      raise FileNotFoundError(
        f"{error.filename}: no such file; make it with: transformer evaluate"
      ) from None
    except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
      raise ValueError(
        f"{path}: no record of evaluate ({type(error).__name__}: {error})"
      ) from None
    return cls(path, record, *texts)


def bootstrap(a: Evaluation, b: Evaluation, resamples: int) -> dict[str, Any]:
  """Scores of two evaluations of the same text, each with the mean and half the 95%
  interval of its resamples, and the probability of so large a difference by chance.

  Raises:
    ValueError: the installed sacreBLEU would score otherwise than the records.
  """
  from transformer.studies.significance import paired_bootstrap
  from transformer.tasks.translation import text_scores

  signature = text_scores(a.outputs, a.references)["bleu_signature"]
  if signature != a.record["bleu_signature"]:
    raise ValueError(
      f"{a.path}: scored as {a.record['bleu_signature']}, but here scores are "
      f"{signature}; evaluate both again"
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
      a.outputs, b.outputs, a.references, resamples
    ).items()
  }  # fmt: skip
  return {
    "a": str(a.path),
    "b": str(b.path),
    "sentences": len(a.references),
    "resamples": resamples,
    "scores": scores,
  }


def table(record: dict[str, Any]) -> str:
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
