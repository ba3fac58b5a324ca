"""`transformer plan`: its figures against formulas, shards and a step that runs."""

import contextlib
import ctypes
import dataclasses
import functools
import gc
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import transformer
from transformer import cli, experiment
from transformer import config as configs
from transformer.analysis import plan as plans
from transformer.analysis import remedies
from transformer.data.batching import Grouped, Packed
from transformer.data.sources.parallel_text import ParallelText
from transformer.data.tokenizers.sentence_piece import SentencePiece
from transformer.experiment import Config
from transformer.layers.remat import Full
from transformer.models.transformer import Transformer
from transformer.training.losses import ChunkedCrossEntropy
from transformer.training.mesh import Mesh

ROOT = Path(__file__).resolve().parents[2]
V, ROWS, T = 200, 24, 32

SMALL = Config(
  data=ParallelText("no such file", "nor such"),
  model=Transformer(layers=3, d_model=48, d_ff=80, heads=4),
  tokenizer=SentencePiece(vocabulary=V),
  batching=Packed(tokens=ROWS * T, length=T),
)


@functools.cache
def planned(mesh, devices=4, device="cpu", config=SMALL):
  return plans.plan(config, devices, device, mesh)


def parameters(d=48, f=80, layers=3):
  attention = 4 * d * d
  feed_forward = 2 * d * f + f + d
  return V * d + layers * (3 * attention + 2 * feed_forward + 5 * 2 * d)


@pytest.mark.slow
def test_flops_are_six_a_weight_and_token_and_those_of_attention():
  record = planned(Mesh(data=4))
  assert record["parameters"] == parameters()
  weights = parameters() - 3 * (2 * (80 + 48) + 5 * 2 * 48)  # no biases, no norms
  attention = 3 * 3 * 2 * 2 * ROWS * T * T * 48  # three a layer, scores and values
  expected = 6 * weights * ROWS * T + 3 * attention
  assert record["flops"]["step"] == expected
  assert record["flops"]["token"] == expected / (ROWS * T)
  # Nothing is executed twice; the backward pass needs no gradient of the masks.
  assert record["flops"]["executed"] == expected


@pytest.mark.slow
def test_recomputed_products_are_executed_but_not_counted_for_the_model():
  model = dataclasses.replace(SMALL.model, remat=Full())
  config = dataclasses.replace(SMALL, model=model)
  record, plain = planned(Mesh(data=4), config=config), planned(Mesh(data=4))
  assert record["flops"]["step"] == plain["flops"]["step"]
  assert record["flops"]["executed"] > 1.2 * plain["flops"]["step"]
  assert record["bytes"]["activations"] < plain["bytes"]["activations"]


@pytest.mark.slow
def test_bytes_of_state_are_those_of_the_shards():
  whole, halves = planned(Mesh(data=4)), planned(Mesh(data=1, fsdp=2, tensor=2))
  assert whole["bytes"]["parameters"] == 4 * parameters()
  assert whole["bytes"]["gradients"] == 4 * parameters()
  assert 0 <= whole["bytes"]["optimizer"] - 2 * 4 * parameters() < 32
  # Norms, and biases of one axis, lie over one axis of the mesh at most.
  assert 0.25 < halves["bytes"]["parameters"] / whole["bytes"]["parameters"] < 0.28
  assert whole["bytes"]["batch"] == 6 * 4 * ROWS * T // 4


def test_data_parallelism_reduces_every_gradient_once_or_more():
  (row,) = planned(Mesh(data=4))["collectives"]
  assert (row["kind"], row["devices"]) == ("all-reduce", 4)
  table = 4 * V * 48  # of which each use has a gradient of its own
  gradients = 4 * parameters() + 2 * table
  assert gradients <= row["bytes"] < 1.02 * gradients
  assert row["sent"] == pytest.approx(row["bytes"] * 2 * 3 / 4)


@pytest.mark.slow
def test_tensor_parallelism_reduces_activations_in_every_layer():
  rows = planned(Mesh(data=1, tensor=4))["collectives"]
  reduced = sum(row["bytes"] for row in rows if row["kind"] == "all-reduce")
  once = 4 * ROWS * T * 48
  # Forward, after each sublayer; a loop counted once would give a third of it.
  assert reduced > 3 * 5 * once


def test_one_device_has_no_collectives_and_everything_fits():
  record = planned(Mesh(data=1), devices=1)
  assert record["collectives"] == [] and record["fits"]
  assert record["remedy"] is None
  assert 0 < record["mfu"] <= 1
  assert record["seconds"]["step"] == max(record["seconds"].values()) > 0


@pytest.mark.slow
def test_what_would_fit_is_proposed(monkeypatch):
  record = planned(Mesh(data=4))
  total = record["bytes"]["total"]
  tight = dataclasses.replace(plans.DEVICES["h200"], memory=0.8 * total)
  order = {"config": configs.dump(SMALL), "imports": [], "fixed": True}
  order |= {"devices": 1, "device": "h200"}
  monkeypatch.setitem(plans.DEVICES, "h200", tight)
  found = plans.answer(order)
  assert not found["fits"] and found["remedy"] is not None
  config = SMALL
  for setting in found["remedy"]["settings"]:
    name, _, text = setting.removeprefix("--config.").partition("=")
    config = configs.override(config, name, text.strip("'"))
  fitting = plans.answer(order | {"config": configs.dump(config)})
  assert fitting["fits"] and fitting["remedy"] is None
  assert fitting["bytes"]["total"] == found["remedy"]["bytes"]
  few = itertools.islice(remedies.changes(SMALL), 1)
  monkeypatch.setattr(remedies, "changes", lambda *_: few)
  hopeless = dataclasses.replace(tight, memory=1e5)
  monkeypatch.setitem(plans.DEVICES, "h200", hopeless)
  assert plans.answer(order)["remedy"] is None


@pytest.mark.slow
def test_a_mesh_that_does_not_divide_is_refused_if_asked_for_and_else_replaced():
  with pytest.raises(
    ValueError, match=r"24 rows .* over 16 devices .*: use .*row_multiple=16, or"
  ):
    plans.plan(SMALL, 16, "h200", Mesh(data=16))
  record = planned(None, devices=16, device="v5p")
  assert record["mesh"] == "Mesh(data=8, tensor=2)"
  assert "do not divide over 16 devices" in record["notes"][0]
  assert record["precision"] == "bfloat16"


@pytest.mark.parametrize(
  "arguments, message",
  [
    (
      ["--device", "abacus"],
      "--device: abacus; there are h200, h100, b200, rtx4090, a100, v5p, cpu",
    ),
    (["--devices", "0"], "--devices: expected 1 or more, got 0"),
    (["--mesh", "Mesh(rows=2)"], "rows"),
    (["--mesh", "Mesh(data=3)", "--devices", "4"], "does not fit 4 devices"),
    (["--config.modl.layers=2"], "did you mean model"),
  ],
)
def test_the_command_refuses_in_one_line(arguments, message, capsys):
  assert cli.main(["plan", str(ROOT / "configs" / "dates.py"), *arguments]) == 1
  error = capsys.readouterr().err
  assert message in error and error.count("\n") == 1


@pytest.mark.slow
def test_the_command_plans_without_data(capsys):
  """A corpus is not looked for: WMT 2014 needs gigabytes."""
  config = str(ROOT / "configs" / "wmt14_base.py")
  settings = ["--config.model.layers=1", "--config.batching=Packed(4096)"]
  command = ["plan", config, "--devices", "8", "--mesh", "Mesh(fsdp=8)", *settings]
  assert cli.main(command) == 0
  shown = capsys.readouterr().out
  for word in ("parameters", "FLOPs", "collectives", "MFU", "fits", "NVIDIA H200"):
    assert word in shown
  assert cli.main([*command, "--json"]) == 0
  assert json.loads(capsys.readouterr().out)["mesh"] == "Mesh(data=1, fsdp=8)"


def test_the_other_process_imports_this_package(monkeypatch):
  """Whichever is installed."""

  def run(command, *, env, **_):
    path = env["PYTHONPATH"].split(os.pathsep)[0]
    assert (Path(path) / "transformer" / "__init__.py").samefile(transformer.__file__)
    return subprocess.CompletedProcess(command, 0, '{"seen": true}', "")

  monkeypatch.setattr(subprocess, "run", run)
  assert plans.plan(SMALL, 2, "cpu") == {"seen": True}


@pytest.mark.slow
@pytest.mark.parametrize("devices", [8, 512])
def test_the_big_model_is_planned_and_fits(devices):
  config = experiment.read_config(ROOT / "configs" / "wmt14_big.py")
  record = plans.plan(config, devices, "h200")
  assert record["parameters"] == 214_171_648
  assert record["devices"] == devices and record["fits"]


LARGER = dataclasses.replace(
  SMALL,
  model=Transformer(layers=3, d_model=256, d_ff=1024, heads=4),
  tokenizer=SentencePiece(vocabulary=8000),
  batching=Packed(tokens=4096, length=64),
)
SETTINGS = {
  "plain": {},
  "memory": dict(
    accumulate=2,
    model=dataclasses.replace(LARGER.model, remat=Full()),
    task=dataclasses.replace(LARGER.task, cross_entropy=ChunkedCrossEntropy(1024)),
  ),
}


def resident(name):
  """`VmRSS` or `VmHWM` of this process, in bytes."""
  status = Path("/proc/self/status").read_text()
  (line,) = (line for line in status.splitlines() if line.startswith(name))
  return 1024 * int(line.split()[1])


def use(name):
  """Runs a real step on every device of this process; prints the peak of memory that
  they add to it, a device. Compiling is over before it is looked at."""
  import jax

  from transformer.batch import Pairs
  from transformer.training.mesh import batch_sharding, put
  from transformer.training.state import abstract_state, init_state
  from transformer.training.step import step_program

  config = dataclasses.replace(LARGER, **SETTINGS[name])
  mesh, module = config.mesh.build(), config.model.module(8000, config.precision.dtype)
  example = config.task.example(config.batching.shapes[0])
  ids = example.source._replace(seg_bt=example.source.seg_bt + 1)
  batch = Pairs(ids, ids)
  optimizer = config.optimizer.transform(lambda count: 1e-3)
  init = init_state(module, batch, optimizer, jax.random.key(0))
  abstract = abstract_state(init, mesh)
  key = jax.random.key(1)
  loss = functools.partial(config.task.loss, module)
  step = step_program(loss, optimizer, abstract, accumulate=config.accumulate)
  with jax.set_mesh(mesh):
    placed = put(batch, batch_sharding(mesh))
    run = step.lower(abstract, placed, key).compile()
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    zeros = functools.partial(
      jax.tree.map, lambda leaf: jax.numpy.zeros(leaf.shape, leaf.dtype), abstract
    )
    make = jax.jit(zeros, out_shardings=shardings).lower().compile()
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    with contextlib.suppress(OSError):
      Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    jax.block_until_ready(run(make(), placed, key))
  print((resident("VmHWM") - before) / jax.device_count())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", ["plain", "memory"])
def test_planned_memory_is_what_a_real_step_takes(name):
  config = dataclasses.replace(LARGER, **SETTINGS[name])
  done = subprocess.run(
    [sys.executable, "-c", f"from tests.analysis.test_plan import use; use({name!r})"],
    cwd=ROOT, capture_output=True, text=True,
    env={**os.environ, "JAX_NUM_CPU_DEVICES": "2", "PYTHONPATH": str(ROOT)},
  )  # fmt: skip
  assert done.returncode == 0, done.stderr[-2000:]
  real = float(done.stdout.splitlines()[-1])
  total = plans.plan(config, 2, "cpu", Mesh(data=2))["bytes"]["total"]
  assert total == pytest.approx(real, rel=0.15)


def test_every_shape_of_a_batching_is_declared():
  """Rows that do not divide are found before the first batch."""
  config = dataclasses.replace(SMALL, batching=Grouped(240, (8, 24), row_multiple=1))
  with pytest.raises(
    ValueError, match="30 rows padded to 8 tokens do not divide over 4"
  ):
    plans.plan(config, 4, "cpu", Mesh(data=4))
