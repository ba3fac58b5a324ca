"""Decoding speed beside other libraries, measured in turn: prints ratios.

    make bench-decode                      # about half an hour on two cores
    make bench-decode ARGS="--rounds 1 --cases 'greedy$'"

All decoders have the paper's base geometry, a vocabulary of 32,000, random weights and
all cores; sentences have 32 tokens, and every output is forced to its length. A round
measures every decoder once, in an order that rotates from round to round, so that other
load on the machine affects all alike. A ratio is taken within a round: the seconds of a
decoder over those of ours in float32, above 1 where ours is faster. Compilation and
loading are not counted.

The peers have an environment of their own, `benchmarks/.venv-peers`, which `make peers`
installs.
"""

import argparse
import sys

import results
from worker import HERE, Worker, in_turn


def case(sentences: int, output: int, beam: int) -> dict[str, int]:
  """The request that a worker reads."""
  return {"sentences": sentences, "source": 32, "output": output, "beam": beam}


CASES = {
  "64 sentences, 48 tokens, greedy": case(64, 48, 1),
  "64 sentences, 48 tokens, beam 4": case(64, 48, 4),
  "1 sentence, 48 tokens, greedy": case(1, 48, 1),
  "1 sentence, 48 tokens, beam 4": case(1, 48, 4),
  **{f"64 sentences, {n} tokens, greedy": case(64, n, 1) for n in (32, 64, 128, 256)},
}
PEERS = {
  "Hugging Face": "huggingface",
  "CTranslate2 float32": "float32",
  "CTranslate2 int8": "int8",
}
OURS, OURS_INT8 = "ours float32", "ours int8"


def seconds_of(worker: Worker, case: dict[str, int]) -> float:
  """Seconds of one case.

  Raises:
    SystemExit: the worker died, or wrote another number of tokens.
  """
  answer, expected = worker.ask(case), case["sentences"] * case["output"]
  if answer["tokens"] != expected:
    raise SystemExit(
      f"{' '.join(worker.process.args)}: {case}: expected {expected} tokens, got "
      f"{answer['tokens']}"
    )
  return answer["seconds"]


def measure(workers: dict[str, Worker], cases: dict, rounds: int) -> dict:
  """Seconds of every case and decoder, round by round: `seconds[case][decoder]`."""
  for worker in workers.values():
    seconds_of(worker, case(sentences=3, output=5, beam=2))
  seconds = {name: {decoder: [] for decoder in workers} for name in cases}
  for name, work in cases.items():
    for turn, decoder in in_turn(workers, rounds):
      seconds[name][decoder].append(seconds_of(workers[decoder], work))
      print(
        f"{name}, round {turn + 1}, {decoder}: {seconds[name][decoder][-1]:.2f} s",
        file=sys.stderr, flush=True,
      )  # fmt: skip
  return seconds


def report(seconds: dict, cases: dict, versions: dict[str, str]) -> str:
  """Markdown: the machine, output tokens per second, and the ratios to our seconds."""
  lines = results.heading(versions)
  lines += ["| work | decoder | output tokens/s | ours is faster by |"]
  lines += ["| --- | --- | --- | --- |"]
  for name, times in seconds.items():
    tokens = cases[name]["sentences"] * cases[name]["output"]
    for decoder, own in times.items():
      rates = [tokens / each for each in own]
      ratios = [peer / ours for peer, ours in zip(own, times[OURS], strict=True)]
      ratio = "" if decoder == OURS else results.spread(ratios, ".2f")
      lines.append(f"| {name} | {decoder} | {results.spread(rates, '.0f')} | {ratio} |")
  return "\n".join(lines)


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  results.add_arguments(parser, CASES)
  arguments = parser.parse_args()
  cases = results.chosen(parser, arguments, CASES)
  ours = sys.executable, str(HERE / "ours.py")
  workers = {OURS: Worker(*ours, "float32"), OURS_INT8: Worker(*ours, "int8")}
  peers = str(arguments.peers), str(HERE / "peers.py"), str(HERE / ".cache")
  for decoder, kind in PEERS.items():
    workers[decoder] = Worker(*peers, kind)
  seconds = measure(workers, cases, arguments.rounds)
  versions = {decoder: worker.versions for decoder, worker in workers.items()}
  print(report(seconds, cases, versions))
  results.append(arguments.results, "decode", versions, seconds=seconds)


if __name__ == "__main__":
  main()
