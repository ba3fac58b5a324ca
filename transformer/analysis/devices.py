"""Peak figures of devices: published ones, and this machine measured."""

import dataclasses
import os
import time

import jax
import jax.numpy as jnp
import numpy as np

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Device:
  """Peak figures of one device, as its maker publishes them, without sparsity.

  Attributes:
    platform: JAX's name for it; decides the default precision.
    flops: multiply-adds in bfloat16, counted as two, a second.
    memory: bytes.
    bandwidth: bytes a second between the device and its memory.
    link: bytes a second that it can send to devices of its node.
    network: the same, to devices of other nodes.
    node: devices that `link` joins.
    source: where the figures are from.
  """

  platform: str
  flops: float
  memory: float
  bandwidth: float
  link: float
  network: float
  node: int
  source: str


DEVICES = {
  "h200": Device(
    "gpu", 989e12, 141e9, 4.8e12, 450e9, 50e9, 8,
    "NVIDIA H200 datasheet (SXM; 1,979 TFLOPS with sparsity; NVLink 900 GB/s both "
    "ways); 400 Gb/s InfiniBand a GPU as in DGX H200",
  ),
  "h100": Device(
    "gpu", 989e12, 80e9, 3.35e12, 450e9, 50e9, 8,
    "NVIDIA H100 datasheet (SXM; 1,979 TFLOPS with sparsity; NVLink 900 GB/s both "
    "ways); 400 Gb/s InfiniBand a GPU as in DGX H100",
  ),
  "b200": Device(
    "gpu", 2.25e15, 180e9, 8e12, 900e9, 50e9, 8,
    "NVIDIA DGX B200 datasheet, an eighth of it (1,440 GB, 64 TB/s; 72 PFLOPS in FP8 "
    "with sparsity, a quarter of that dense in bfloat16; NVLink 1.8 TB/s both ways a "
    "GPU); 400 Gb/s InfiniBand a GPU",
  ),
  "rtx4090": Device(
    "gpu", 165.2e12, 24e9, 1.008e12, 32e9, 1.25e9, 4,
    "NVIDIA Ada GPU architecture whitepaper (GeForce RTX 4090; bfloat16 with float32 "
    "accumulation); PCIe 4.0 x16, four to a node; 10 Gb/s Ethernet",
  ),
  "a100": Device(
    "gpu", 312e12, 80e9, 2.039e12, 300e9, 25e9, 8,
    "NVIDIA A100 80GB datasheet (SXM; NVLink 600 GB/s both ways); 200 Gb/s InfiniBand "
    "a GPU as in DGX A100",
  ),
  "v5p": Device(
    "tpu", 459e12, 95 * GIB, 2.765e12, 600e9, 600e9, 8960,
    "Google Cloud documentation of TPU v5p (ICI 1,200 GB/s both ways)",
  ),
}  # fmt: skip


def this_machine(devices: int) -> Device:
  """This machine, measured now in float32 and shared by so many virtual devices."""
  memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
  square = jnp.ones((1024, 1024), jnp.float32)
  product = jax.jit(lambda x: x @ x)
  product(square).block_until_ready()
  flops = 2 * 1024**3 / fastest(lambda: product(square).block_until_ready())
  array = np.ones(2**24, np.float32)
  bandwidth = 2 * array.nbytes / fastest(array.copy)
  share = (flops / devices, memory / devices, bandwidth / devices)
  source = "this machine, measured: a float32 product of 1024 x 1024 and a copy"
  return Device("cpu", *share, share[2] / 2, share[2] / 2, devices, source)


def fastest(work) -> float:
  """Seconds of the fastest of five calls."""
  times = []
  for _ in range(5):
    start = time.perf_counter()
    work()
    times.append(time.perf_counter() - start)
  return min(times)
