"""What holds for the whole suite: guards, a compilation cache, and where data is.

JAX reads its settings from the environment when it is first imported. Set here, they
cost nothing to tests that never import it and reach the processes that tests start.
"""

import concurrent.futures
import gc
import importlib.metadata
import multiprocessing
import os
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

SETTINGS = {
  "JAX_PLATFORMS": "cpu",
  "JAX_NUMPY_RANK_PROMOTION": "raise",
  "JAX_DEBUG_KEY_REUSE": "1",
  "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".pytest_cache" / "jax"),
  "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}

# XLA takes half the time to compile for a CPU without these emitters of fusions, and
# what it makes runs as fast. It dies of flags that it does not know: only for this one.
if importlib.metadata.version("jaxlib").startswith("0.10."):
  SETTINGS["XLA_FLAGS"] = "--xla_cpu_use_fusion_emitters=false"

MANY_MAPS = 15_000

for name, value in SETTINGS.items():
  os.environ.setdefault(name, value)


@pytest.fixture(autouse=True, scope="module")
def _programs():
  """Gives back compiled programs after a file of tests. They lie in memory maps, of
  which a process has 65,530 on Linux; beyond them it dies."""
  yield
  maps = Path("/proc/self/maps")
  many = not maps.exists() or maps.read_bytes().count(b"\n") > MANY_MAPS
  if "jax" in sys.modules and many:
    sys.modules["jax"].clear_caches()
    gc.collect()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
  """Lets XLA optimise for the slow tests that mostly train, and for the processes that
  they start: the others spend their time on compiling. Before any fixture of the
  test."""
  slow = item.get_closest_marker("slow")
  quick = slow is None or not slow.kwargs.get("trains", False)
  os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(int(quick))
  if "jax" in sys.modules:
    sys.modules["jax"].config.update("jax_disable_most_optimizations", quick)


@pytest.fixture(scope="session")
def translation_run(tmp_path_factory) -> Path:
  """A finished run of `tests.tiny.TINY` with checkpoints of steps 2, 4 and 6, which no
  test changes: those that do, take a copy."""
  return finished("translation", tmp_path_factory)


@pytest.fixture
def translation_run_copy(translation_run, tmp_path) -> Path:
  """The test's own copy of `translation_run`, outside its `tmp_path`."""
  return shutil.copytree(translation_run, tmp_path.with_name(f"{tmp_path.name}-copy"))


@pytest.fixture(scope="session")
def language_run(tmp_path_factory) -> Path:
  """A finished run of `tests.tiny.language_config` with checkpoints of steps 2 and 4,
  which no test changes: those that do, take a copy."""
  return finished("language", tmp_path_factory)


@pytest.fixture
def language_run_copy(language_run, tmp_path) -> Path:
  """The test's own copy of `language_run`, outside its `tmp_path`."""
  return shutil.copytree(language_run, tmp_path.with_name(f"{tmp_path.name}-copy"))


@pytest.fixture(scope="session")
def tiny_tokenizer(tmp_path_factory):
  """The tokenizer of `tests.tiny.TINY`."""
  from tests.tiny import TINY
  from transformer.data.tokenizers.sentence_piece import SentencePieceTokenizer

  return SentencePieceTokenizer(TINY.task.make_vocabulary(TINY.data, TINY.tokenizer))


def finished(name: str, tmp_path_factory) -> Path:
  """Trains a tiny run to its end."""
  from tests import tiny
  from transformer.runs import trainer

  folder = tmp_path_factory.mktemp(name)
  config = tiny.TINY if name == "translation" else tiny.language_config(folder)
  assert trainer.train(config, folder / "run") == 0
  return folder / "run"


@pytest.fixture(scope="session")
def browser():
  """The one headless browser of the session, a `tests.browser.Browser`; the test is
  skipped where there is none."""
  from tests.browser import chromium

  with chromium() as opened:
    yield opened


@pytest.fixture(scope="session")
def eight_devices():
  """Calls functions of test files in one process with eight virtual devices:
  `eight_devices(function, *arguments)`; both and the result go there by pickle."""
  executor = concurrent.futures.ProcessPoolExecutor(
    1, multiprocessing.get_context("spawn"), _use_eight_devices
  )
  with executor:
    yield lambda function, *arguments: executor.submit(function, *arguments).result()


def _use_eight_devices():
  import jax

  jax.config.update("jax_num_cpu_devices", 8)
  jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="session")
def multi30k() -> Path:
  """The directory of the Multi30k files, under `TRANSFORMER_DATA` or beside the
  repository; the test is skipped where there is none."""
  data = os.environ.get("TRANSFORMER_DATA") or ROOT.parent / "shared" / "data"
  directory = Path(data) / "multi30k"
  if not directory.is_dir():
    pytest.skip(f"{directory}: no such directory; set TRANSFORMER_DATA to its parent")
  return directory
