"""The two commands in a fresh directory, and what docs/faults.md says they print."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from absl import flags

import train as command
from tests.tiny import TINY
from transformer import cli
from transformer import config as configs

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "faults.md"


ROWS = dict(
  (name.strip(), line.strip().strip("`"))
  for name, line in re.findall(r"^\| (.+?) \| (`.+`) \|$", DOCUMENT.read_text(), re.M)
)


class Case:
  """A fresh directory, the two commands, and the document's rows."""

  def __init__(self, folder, finished_run, capsys, monkeypatch):
    self.folder, self._finished = folder, finished_run
    self._capsys, self._monkeypatch = capsys, monkeypatch
    self.write("config.py", (
      "from transformer import config\nfrom transformer.experiment import Config\n"
      f"def get_config():\n  return config.loads(Config, {configs.dumps(TINY)!r})\n"
    ))  # fmt: skip

  def write(self, name, text):
    data = text if isinstance(text, bytes) else text.encode()
    (self.folder / name).write_bytes(data)
    return self.folder / name

  def run(self):
    """A copy of a finished run."""
    return shutil.copytree(self._finished, self.folder / "run")

  def train(self, *settings, config="config.py", run="run"):
    """`python train.py`; its status and what it printed."""
    words = ["train.py", "--config", str(self.folder / config), "--workdir",
             str(self.folder / run), *settings]  # fmt: skip
    self._capsys.readouterr()
    # What an earlier call gave would still be there.
    for flag in flags.FLAGS.get_flags_for_module(command):
      flag.unparse()
    with self._monkeypatch.context() as patch:
      patch.setattr(sys, "argv", words)
      with pytest.raises(SystemExit) as end:
        command.entry()
    return end.value.code, "".join(self._capsys.readouterr())

  def call(self, *words):
    """`transformer VERB`; its status and what it printed."""
    self._capsys.readouterr()
    try:
      status = cli.main([str(word) for word in words])
    except SystemExit as end:
      status = end.code
    return status, "".join(self._capsys.readouterr())

  def printed(self):
    """What was printed since the last call, on standard output and standard error."""
    return self._capsys.readouterr()

  def assert_sees(self, name, answer, status=1):
    """The document's row `name`, in which `…` stands for any text, is a line of
    `answer`, which has one error at most."""
    found, text = answer
    assert found == status, text
    lines = [line.replace(f"{self.folder}/", "…/") for line in text.splitlines()]
    row = re.escape(ROWS[name]).replace("…", ".*")
    assert any(re.fullmatch(row, line) for line in lines), (ROWS[name], lines[-5:])
    assert sum(line.startswith("error: ") for line in lines) <= 1, lines
    assert "Traceback" not in text, text
