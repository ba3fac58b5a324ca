"""`transformer translate --shard`: parts of a file, stopped and finished."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import dates
from transformer.cli import translate
from transformer.cli.shards import Shard, ShardOutput

ROOT = Path(__file__).resolve().parents[2]
SEARCH = ("--beam", 2, "--extra", 2)


def test_parts_are_every_line_once_in_order():
  for total in (0, 1, 4, 5, 23):
    for count in (1, 3, 12):
      shards = [Shard(number, count) for number in range(1, count + 1)]
      assert [i for shard in shards for i in shard.lines(total)] == [*range(total)]
  names = [Shard.parse(f"{i}/12").path(Path("d/out")).name for i in (1, 2, 11)]
  assert names == ["out.01-of-12", "out.02-of-12", "out.11-of-12"]


@pytest.mark.parametrize("text", ["0/5", "6/5", "1", "a/b", "1/0", "-1/3", "1/2/3"])
def test_what_is_no_part_is_refused(text):
  with pytest.raises(ValueError, match="--shard: expected I/N"):
    Shard.parse(text)


def part(folder, lines=3):
  return ShardOutput(Shard(1, 2), folder / "out", {"step": 1}, lines)


def test_one_process_at_a_time_writes_a_part(tmp_path):
  with part(tmp_path) as output:
    output.write_lines(["a", "b"])
    late = part(tmp_path)
    with pytest.raises(ValueError, match=r"1-of-2\.part: another process writes"), late:
      pass
    output.write_lines(["c"])
  assert output.path.read_text() == "a\nb\nc\n"
  with pytest.raises(ValueError, match="another process writes"), late:
    pass
  assert output.path.read_text() == "a\nb\nc\n"


@pytest.mark.parametrize("texts", [["a", "b"], ["a", "b", "c", "d"]])
def test_a_part_is_finished_with_all_its_lines_alone(tmp_path, texts):
  with pytest.raises(ValueError, match="expected 3 lines, got"), part(tmp_path) as out:
    out.write_lines(texts)
  assert not out.path.exists()


def test_a_full_disk_is_one_of_the_part(tmp_path):
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  message = r"out.1-of-2.part: cannot be written \(File too large"
  try:
    with pytest.raises(OSError, match=message), part(tmp_path) as output:
      resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
      output.write_lines(["a", "b", "c"])
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert (tmp_path / "out.1-of-2.part").read_text() == "a"


@pytest.fixture
def source(tmp_path):
  texts = dates(7, 43)[0]
  texts[5] = ""
  (tmp_path / "source").write_text("".join(f"{text}\n" for text in texts))
  return tmp_path / "source"


def test_parts_together_are_the_whole_though_one_is_stopped(
  run, source, call, tmp_path, monkeypatch
):
  monkeypatch.setattr(translate, "SHARD_LINES", 3)
  words = "translate", run, *SEARCH, "--input", source, "--output"
  assert call(*words, tmp_path / "whole")[0] == 0
  parts = [tmp_path / f"out.{i}-of-5" for i in range(1, 6)]
  for i in (1, 2, 4, 5):
    assert call(*words, tmp_path / "out", "--shard", f"{i}/5")[0] == 0
  # The third is stopped after a chunk, and within the next line that it writes.
  seen = []
  translated = translate.translate_chunk

  def stops(arguments, translator, number, texts, bar):
    if seen:
      raise KeyboardInterrupt
    seen.append(number)
    return translated(arguments, translator, number, texts, bar)

  with monkeypatch.context() as patch:
    patch.setattr(translate, "translate_chunk", stops)
    assert call(*words, tmp_path / "out", "--shard", "3/5")[0] == 130
  left = tmp_path / "out.3-of-5.part"
  assert left.read_text().count("\n") == 3 and not parts[2].exists()
  with left.open("a") as file:
    file.write("half a li")
  status, _, err = call(*words, tmp_path / "out", "--shard", "3/5", "--prefix", "1")
  assert status == 1 and "of another command" in err
  status, _, err = call(*words, tmp_path / "out", "--shard", "3/5")
  assert status == 0, err
  assert "".join(part.read_text() for part in parts) == (tmp_path / "whole").read_text()
  assert sorted(tmp_path.glob("out.*-of-5")) == parts
  notes = {f"{part.name}.part.json" for part in parts}
  names = {path.name for path in tmp_path.iterdir()}
  assert names == {"source", "whole", *(part.name for part in parts), *notes}
  before = parts[2].stat().st_mtime_ns
  status, _, err = call(*words, tmp_path / "out", "--shard", "3/5")
  assert status == 0 and "complete already" in err
  assert parts[2].stat().st_mtime_ns == before


def test_a_part_of_another_command_is_not_continued(run, source, call, tmp_path):
  (tmp_path / "out.1-of-2.part").write_text("mine\n")
  words = "translate", run, *SEARCH, "--input", source, "--output", tmp_path / "out"
  status, _, err = call(*words, "--shard", "1/2")
  assert status == 1 and "out.1-of-2.part: of an unknown command" in err
  assert (tmp_path / "out.1-of-2.part").read_text() == "mine\n"


def test_a_finished_part_of_another_command_is_refused(run, source, call, tmp_path):
  words = ["translate", run, *SEARCH, "--input", source, "--output", tmp_path / "out"]
  assert call(*words, "--shard", "1/2")[0] == 0
  part = tmp_path / "out.1-of-2"
  before = part.read_text()
  averaged = tmp_path / "averaged"
  assert call("average", run, "--last", 2, "--output", averaged)[0] == 0
  for other in ([*words, "--beam", 3], [words[0], averaged, *words[2:]]):
    # The other part would be joined with this one.
    for shard in ("1/2", "2/2"):
      status, _, err = call(*other, "--shard", shard)
      assert status == 1 and err.count("\n") == 1, err
      assert "out.1-of-2: of another command" in err
  with source.open("a") as file:
    file.write("12.05.2001\n")
  status, _, err = call(*words, "--shard", "1/2")
  assert status == 1 and "out.1-of-2: of another command" in err
  assert part.read_text() == before
  assert not list(tmp_path.glob("out.2-of-2*"))
  part.unlink()
  assert call(*words, "--shard", "1/2")[0] == 0
  (tmp_path / "out.1-of-2.part.json").unlink()
  status, _, err = call(*words, "--shard", "2/2")
  assert status == 1 and "out.1-of-2: of an unknown command" in err


@pytest.mark.slow
def test_a_killed_part_is_finished_by_the_same_command(run, source, call, tmp_path):
  source.write_text("".join(f"{text}\n" for text in dates(8, 3000)[0]))
  words = ["translate", run, *SEARCH, "--input", source, "--output", tmp_path / "out"]
  command = [
    sys.executable,
    "-m",
    "transformer.cli",
    *map(str, words),
    "--shard",
    "2/2",
  ]
  process = subprocess.Popen(command, cwd=ROOT, env={**os.environ})
  left = tmp_path / "out.2-of-2.part"
  stop = time.monotonic() + 240
  while not (left.exists() and left.stat().st_size):
    assert time.monotonic() < stop and process.poll() is None
    time.sleep(0.02)
  process.send_signal(signal.SIGKILL)
  process.wait()
  done = left.read_bytes().count(b"\n")
  assert 0 < done < 1500
  for number in (1, 2):
    assert call(*words, "--shard", f"{number}/2")[0] == 0
  assert call(*words[:-1], tmp_path / "whole")[0] == 0
  parts = [(tmp_path / f"out.{i}-of-2").read_text() for i in (1, 2)]
  assert "".join(parts) == (tmp_path / "whole").read_text()
