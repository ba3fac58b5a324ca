"""The shipped experiments learn what they claim, in a shorter form."""

import dataclasses
from pathlib import Path

import pytest

from transformer import cli, experiment
from transformer.data.sources.dates import Dates
from transformer.runs import trainer
from transformer.runs.metrics import Metrics
from transformer.studies import perplexity_by_memory
from transformer.training.schedules import Schedule

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def shortened(name, steps, tmp_path, **settings):
  """The scores of a shipped experiment after fewer updates."""
  config = experiment.read_config(CONFIGS / f"{name}.py")
  warmup = min(config.schedule.warmup, steps // 5)
  schedule = dataclasses.replace(config.schedule, warmup=warmup)
  config = dataclasses.replace(
    config, steps=steps, schedule=schedule, eval_every=steps, save_every=steps,
    **settings,
  )  # fmt: skip
  assert trainer.train(config, tmp_path / name) == 0
  return {key: value for _, key, value in Metrics.read(tmp_path / name)}


@pytest.mark.slow(trains=True)
@pytest.mark.parametrize(
  "name, loss, exact",
  [("rnn", 0.75, 0.0), ("rnn_search", 0.2, 0.6), ("conv_seq2seq", 0.3, 0.25)],
)
def test_every_encoder_decoder_learns_dates(name, loss, exact, tmp_path):
  scores = shortened(name, 150, tmp_path, data=Dates(held_out=200))
  # A model that reads no source loses about 1; it is right once in thousands.
  assert scores["val/loss"] < loss and scores["val/exact_match"] >= exact


@pytest.mark.slow(trains=True)
@pytest.mark.parametrize(
  "name, steps, floor",
  [("vit", 600, 0.8), ("resnet", 150, 0.9), ("memory_network", 3000, 0.9)],
)
def test_every_classifier_beats_the_majority_class(name, steps, floor, tmp_path):
  if name != "memory_network":
    pytest.importorskip("sklearn")
  scores = shortened(name, steps, tmp_path)
  assert scores["val/majority_accuracy"] < 0.2
  assert scores["val/accuracy"] >= floor


@pytest.mark.slow(trains=True)
def test_the_language_model_beats_frequencies(tmp_path):
  scores = shortened("language_model", 200, tmp_path)
  assert scores["val/perplexity"] < 0.4 * scores["val/unigram_perplexity"]


@pytest.mark.slow(trains=True)
def test_bert_beats_frequencies_and_is_a_better_initialisation(tmp_path):
  scores = shortened("bert", 900, tmp_path)
  assert scores["val/loss"] < scores["val/unigram_loss"] - 0.5
  assert scores["val/accuracy"] > scores["val/unigram_accuracy"] + 0.03
  config = experiment.read_config(CONFIGS / "bert_finetune.py")
  tuned = dataclasses.replace(config, init=str(tmp_path / "bert"))
  start = experiment.read_config(CONFIGS / "bert.py")
  start = dataclasses.replace(start, steps=1, schedule=Schedule(rate=0.0))
  assert trainer.train(start, tmp_path / "start") == 0
  scratch = dataclasses.replace(config, init=str(tmp_path / "start"))
  results = {}
  for name, each in (("tuned", tuned), ("scratch", scratch)):
    assert trainer.train(each, tmp_path / name) == 0
    results[name] = {key: v for _, key, v in Metrics.read(tmp_path / name)}
    assert results[name]["val/majority_accuracy"] < 0.1
  assert results["tuned"]["val/accuracy"] > results["scratch"]["val/accuracy"] + 0.03


@pytest.mark.slow(trains=True)
def test_transformer_xl_gains_by_its_memory(tmp_path):
  scores = shortened("transformer_xl", 600, tmp_path)
  assert scores["val/perplexity"] < 0.6 * scores["val/unigram_perplexity"]
  # Up to as long as in training; twice that gives little more, after 2,400 updates.
  rows = perplexity_by_memory.measure([tmp_path / "transformer_xl"], "val", (0, 16, 64))
  none, some, all_of_it = (row.perplexity for row in rows)
  assert all_of_it < some < none - 1.0


@pytest.mark.slow(trains=True)
def test_dates_are_learnt_in_a_minute_or_two(tmp_path, capsys):
  config = experiment.read_config(CONFIGS / "dates.py")
  config = dataclasses.replace(
    config,
    data=Dates(held_out=200),
    steps=400,
    eval_every=400,
    save_every=400,
  )
  assert trainer.train(config, tmp_path / "run") == 0
  scores = {name: value for _, name, value in Metrics.read(tmp_path / "run")}
  # A model that has learnt nothing writes no date right.
  assert scores["val/exact_match"] >= 0.7
  capsys.readouterr()
  shown = ["Friday, October 8, 1915", "1915年10月8日金曜日"]
  assert cli.main(["translate", str(tmp_path / "run"), *shown]) == 0
  assert "1915-10-08" in capsys.readouterr().out.split("\n")
