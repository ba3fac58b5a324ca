"""A run that was stopped anywhere, on any devices and processes, is the same run."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.runs import kill
from tests.tiny_run import losses
from transformer.data.assemble import members, pack_tokens
from transformer.data.batching import Grouped, Packed
from transformer.data.pipeline import batches
from transformer.runs.metrics import Metrics
from transformer.runs.run import Run

ROOT = Path(__file__).resolve().parents[2]

CONFIG = """
from transformer.data.batching import Packed
from transformer.data.sources.dates import Dates
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.experiment import Config
from transformer.models.transformer import Transformer
from transformer.training.optimizers import SGD
from transformer.training.schedules import Schedule

def get_config():
  return Config(
    data=Dates(examples=400, held_out=16),
    model=Transformer(layers=2, d_model=16, d_ff=24, heads=2),
    tokenizer=SentencePiece(vocabulary=560),
    batching=Packed(tokens=512, length=64), optimizer=SGD(), schedule=Schedule(0.3),
    log_every=1, eval_every=1000, save_every=1000,
  )
"""

TOLERANCE = 5e-6
"""How far the losses of plain gradient descent may be apart on other devices."""


@pytest.fixture(autouse=True)
def _no_optimisation(monkeypatch):
  """A process here compiles for longer than it trains."""
  monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")


def words(folder, name, *flags):
  config = folder / "config.py"
  config.write_text(CONFIG)
  return [sys.executable, str(ROOT / "train.py"), "--config", str(config),
          "--workdir", str(folder / name), *flags]  # fmt: skip


def train(folder, name, *flags, devices=1):
  environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)}
  done = subprocess.run(
    words(folder, name, *flags), cwd=ROOT, env=environment, capture_output=True,
    text=True,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr[-2000:]
  return done.stderr


def held_out(path):
  """The scores of a run's evaluations by step and name, without rates."""
  return {
    (step, name): value
    for step, name, value in Metrics.read(path)
    if name.startswith("val/") and "per_second" not in name
  }


def apart(one, other):
  one, other = dict(losses(one)), dict(losses(other))
  assert one.keys() == other.keys() and len(one) > 10
  return max(abs(one[step] - other[step]) for step in one)


@pytest.mark.slow
def test_killed_again_and_again_it_ends_as_the_same_run(tmp_path):
  found = kill.torment(tmp_path, steps=240, kills=6, seed=1)
  assert found["kills"] >= 5, found
  assert found["same parameters"] and found["same losses"], found
  assert found["rows"] == 80, found


@pytest.mark.slow
def test_eight_devices_then_one_then_four(tmp_path):
  train(tmp_path, "whole", "--config.steps=18", "--config.eval_every=6")
  output = train(
    tmp_path, "run", "--config.steps=6", "--config.eval_every=6", devices=8
  )
  assert "on 8 cpu device(s), from the start" in output
  output = train(tmp_path, "run", "--config.steps=12")
  assert "on 1 cpu device(s), resumed at step 6" in output
  mesh = "--config.mesh=Mesh(fsdp=2, tensor=2)"
  output = train(tmp_path, "run", "--config.steps=18", mesh, devices=4)
  assert "on 4 cpu device(s), resumed at step 12" in output
  assert apart(tmp_path / "whole", tmp_path / "run") < TOLERANCE
  first, *_, last = (loss for _, loss in losses(tmp_path / "run"))
  assert last < first - 0.05
  scores = held_out(tmp_path / "whole")
  on_eight = {key: score for key, score in scores.items() if key[0] == 6}
  found = held_out(tmp_path / "run")
  assert {key: found[key] for key in on_eight} == pytest.approx(on_eight, abs=TOLERANCE)


@pytest.mark.parametrize(
  "batching", [Packed(tokens=512, length=64), Grouped(tokens=512, lengths=(16, 32, 64))]
)
@pytest.mark.parametrize("shares", [1, 2, 4])
def test_every_example_comes_once_an_epoch_whoever_reads_it(batching, shares):
  rng = np.random.default_rng(3)
  lengths_n2 = rng.integers(3, 20, (200, 2))

  class Numbered:
    """Every token of an example is its number."""

    def batch(self, shape, example_bm):
      rows = members(example_bm)
      ids = [[np.full(lengths_n2[i, 0], i) for i in row] for row in rows]
      return pack_tokens(ids, shape.source)

  plan = batching.plan(lengths_n2, seed=5)
  count = plan.batches
  seen = []
  for share in range(shares):

    def own(rows, share=share):
      return np.arange(rows) * shares // rows == share

    found = 0
    for step, batch in batches(Numbered(), plan, 0, count, own):
      id_bt, seg_bt = batch.id_bt, batch.seg_bt
      assert not seg_bt[~own(len(seg_bt))].any()
      for row, segments in zip(id_bt, seg_bt, strict=True):
        mine = [int(row[segments == one][0]) for one in range(1, segments.max() + 1)]
        assert set(mine) <= set(plan.examples(step).tolist())
        seen += mine
      found += 1
    assert found == count
  assert sorted(seen) == list(range(200))


def port():
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    return free.getsockname()[1]


class Pair:
  """Two processes that train one run on this machine."""

  def __init__(self, folder, name, *flags, devices=1):
    address = f"127.0.0.1:{port()}"
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)}
    self.logs = [folder / f"{name}-{number}.log" for number in range(2)]
    self.processes = [
      subprocess.Popen(
        words(folder, name, f"--coordinator={address}", "--processes=2",
              f"--process={number}", *flags),
        cwd=ROOT, env=environment, stdout=subprocess.DEVNULL,
        stderr=self.logs[number].open("wb"),
      ) for number in range(2)
    ]  # fmt: skip

  def output(self, number):
    return self.logs[number].read_bytes().decode(errors="replace")

  def wait(self, seconds=300):
    """The exit statuses."""
    stop = time.monotonic() + seconds
    try:
      return [
        process.wait(timeout=max(stop - time.monotonic(), 0.1))
        for process in self.processes
      ]
    finally:
      for process in self.processes:
        process.kill()


def steps_done(path):
  return len(losses(path)) if (path / "metrics.csv").is_file() else 0


def wait_for_step(path, step, pair):
  stop = time.monotonic() + 240
  while steps_done(path) < step:
    assert time.monotonic() < stop and pair.processes[0].poll() is None, pair.output(0)
    time.sleep(0.02)


@pytest.mark.slow
def test_two_processes_are_one(tmp_path):
  """Also in evaluations, and where one process resumes a run of two."""
  train(tmp_path, "whole", "--config.steps=14", "--config.eval_every=7")
  pair = Pair(tmp_path, "run", "--config.steps=7", "--config.eval_every=7", devices=2)
  assert pair.wait() == [0, 0], pair.output(0) + pair.output(1)
  assert "on 4 cpu device(s) in 2 processes, from the start" in pair.output(0)
  assert "cpu device(s)" not in pair.output(1), "one process speaks"
  output = train(tmp_path, "run", "--config.steps=14", "--config.eval_every=7")
  assert "resumed at step 7" in output
  assert apart(tmp_path / "whole", tmp_path / "run") < TOLERANCE
  scores = held_out(tmp_path / "whole")
  assert {step for step, _ in scores} == {7, 14} and (7, "val/bleu") in scores
  assert held_out(tmp_path / "run") == pytest.approx(scores, abs=TOLERANCE)


@pytest.mark.slow
def test_four_devices_and_two_processes_begin_with_another_run(tmp_path):
  train(tmp_path, "parent", "--config.steps=8")
  flags = [f"--config.init={tmp_path / 'parent'}", "--config.steps=12"]
  train(tmp_path, "whole", *flags)
  train(tmp_path, "four", *flags, devices=4)
  assert apart(tmp_path / "whole", tmp_path / "four") < TOLERANCE
  pair = Pair(tmp_path, "run", *flags)
  assert pair.wait() == [0, 0], pair.output(0) + pair.output(1)
  assert "starts from" in pair.output(0) and "starts from" not in pair.output(1)
  assert apart(tmp_path / "whole", tmp_path / "run") < TOLERANCE
  (_, first), *_ = losses(tmp_path / "run")
  (_, unlearned), *_ = losses(tmp_path / "parent")
  assert first < unlearned - 0.05


@pytest.mark.slow
def test_sigterm_to_one_of_two_stops_both_at_one_step(tmp_path):
  flags = ["--config.steps=60"]
  whole = Pair(tmp_path, "whole", *flags)
  assert whole.wait() == [0, 0], whole.output(0)
  pair = Pair(tmp_path, "run", "--config.steps=1000000")
  wait_for_step(tmp_path / "run", 5, pair)
  pair.processes[1].send_signal(signal.SIGTERM)
  assert pair.wait() == [143, 143], pair.output(0) + pair.output(1)
  (step,) = Run.open(tmp_path / "run").steps()
  assert f"stopped at step {step} of 1000000" in pair.output(0)
  assert losses(tmp_path / "run")[-1][0] == step
  again = Pair(tmp_path, "run", f"--config.steps={max(step, 60)}")
  assert again.wait() == [0, 0], again.output(0)
  same = dict(losses(tmp_path / "run"))
  assert [same[s] for s, _ in losses(tmp_path / "whole")] == [
    loss for _, loss in losses(tmp_path / "whole")
  ]


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_when_one_of_two_is_killed_the_other_ends_and_the_rerun_resumes(
  tmp_path, killed
):
  flags = ["--config.steps=1000000", "--config.save_every=4"]
  pair = Pair(tmp_path, "run", *flags)
  wait_for_step(tmp_path / "run", 10, pair)
  pair.processes[killed].send_signal(signal.SIGKILL)
  begun = time.monotonic()
  statuses = pair.wait(120)
  assert time.monotonic() - begun < 60
  assert statuses[killed] == -signal.SIGKILL and statuses[1 - killed] != 0
  if killed == 1:
    assert f"process {killed} is gone, so process {1 - killed}" in pair.output(
      1 - killed
    )
  last = Run.open(tmp_path / "run").steps()[-1]
  assert last >= 4
  again = Pair(tmp_path, "run", f"--config.steps={last + 4}")
  assert again.wait() == [0, 0], again.output(0) + again.output(1)
  assert f"resumed at step {last}" in again.output(0)
  assert Run.open(tmp_path / "run").steps()[-1] == last + 4
