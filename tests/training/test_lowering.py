"""The training steps of the paper's models lower for accelerators that are not here."""

import dataclasses
from pathlib import Path

import jax
import pytest

from transformer import experiment
from transformer.analysis.devices import DEVICES
from transformer.analysis.step_cost import abstract_step
from transformer.layers import kernels
from transformer.layers.kernels import Flash, Kernel, Plain

CONFIGS = Path(__file__).resolve().parent.parent.parent / "configs"


def lowered(name: str, device: str, platform: str, kernel: Kernel) -> str:
  """The StableHLO of a config's step for a platform, in the dtype of a device."""
  config = experiment.read_config(CONFIGS / f"{name}.py")
  model = dataclasses.replace(config.model, kernel=kernel)
  config = dataclasses.replace(config, model=model)
  mesh = config.mesh.build(jax.devices()[:1])
  with jax.set_mesh(mesh):
    step, _, arguments = abstract_step(config, DEVICES[device], mesh)
    exported = jax.export.export(step, platforms=[platform])(*arguments)
  assert exported.platforms == (platform,)
  return exported.mlir_module()


@pytest.mark.parametrize("name", ["wmt14_base", "wmt14_big"])
@pytest.mark.parametrize("device, platform", [("h200", "cuda"), ("v5p", "tpu")])
def test_the_step_lowers_with_plain_attention(name, device, platform):
  program = lowered(name, device, platform, Plain())
  assert "bf16" in program and "tpu_custom_call" not in program


@pytest.mark.parametrize("name", ["wmt14_base", "wmt14_big"])
def test_the_step_lowers_with_the_pallas_kernel_for_tpu(name, monkeypatch):
  monkeypatch.setattr(kernels, "platform", lambda: "tpu")
  program = lowered(name, "v5p", "tpu", Flash())
  assert "tpu_custom_call" in program
