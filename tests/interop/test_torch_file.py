"""Files of `torch.save`, read without PyTorch."""

import numpy as np
import pytest

from tests.interop.fixtures import FIXTURES
from transformer.interop.hf_directory import SafetensorsFile
from transformer.interop.torch_file import TorchFile


@pytest.mark.parametrize("layout", ["zip", "old"])
def test_tensors_of_every_kind(layout):
  file = TorchFile(FIXTURES / f"torch_{layout}.bin")
  expected = SafetensorsFile(FIXTURES / "torch.safetensors")
  assert file.tensors.keys() == expected.infos.keys()
  for name in file.tensors:
    ours, theirs = file.read(name), expected.read(name)
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    assert np.ascontiguousarray(ours).tobytes() == theirs.tobytes(), name


@pytest.mark.parametrize("layout", ["zip", "old"])
def test_files_cut_short(layout, tmp_path):
  data = (FIXTURES / f"torch_{layout}.bin").read_bytes()
  path = tmp_path / "pytorch_model.bin"
  for size in (10, len(data) // 2, len(data) - 4):
    path.write_bytes(data[:size])
    with pytest.raises(ValueError, match="not a file of tensors, or damaged"):
      TorchFile(path)
