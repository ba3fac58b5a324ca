"""Where output goes, and streams that are closed, broken or of another encoding."""

import codecs
import gzip
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from tests.cli.conftest import SEARCH
from transformer.cli.output_format import write_output
from transformer.runs.output import OutputFile, write_file

ROOT = Path(__file__).resolve().parents[2]


def test_a_device_is_written_through(tmp_path):
  null = tmp_path / "null"
  try:
    os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
  except PermissionError:
    pytest.skip("only root makes devices")
  write_file(null, b"text")
  assert stat.S_ISCHR(null.stat().st_mode)
  assert os.listdir(tmp_path) == ["null"]


def test_a_fifo_is_written_through(tmp_path):
  os.mkfifo(tmp_path / "fifo")
  read = []
  reader = threading.Thread(
    target=lambda: read.append((tmp_path / "fifo").read_bytes())
  )
  reader.start()
  write_file(tmp_path / "fifo", b"text")
  reader.join()
  assert read == [b"text"] and stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}"])
def test_an_open_descriptor_is_written_where_it_stands(tmp_path, name):
  with (tmp_path / "file").open("wb") as file:
    file.write(b"before\n")
    file.flush()
    write_file(name.format(file.fileno()), b"text\n")
    file.write(b"after\n")
  assert (tmp_path / "file").read_bytes() == b"before\ntext\nafter\n"


def test_a_page_on_standard_output_is_not_followed_by_its_name(tmp_path, capfd):
  write_output(Path("/dev/stdout"), b"page")
  write_output(tmp_path / "page", b"page")
  assert capfd.readouterr() == (f"page{tmp_path / 'page'}\n", "/dev/stdout\n")


def test_links_are_followed_and_modes_kept(tmp_path):
  (tmp_path / "folder").mkdir()
  target, link = tmp_path / "folder" / "target", tmp_path / "link"
  target.write_text("old")
  target.chmod(0o640)
  link.symlink_to("folder/target")
  write_file(link, b"new")
  assert link.is_symlink() and target.read_text() == "new"
  assert stat.S_IMODE(target.stat().st_mode) == 0o640
  target.unlink()
  write_file(link, b"again")
  assert link.is_symlink() and target.read_text() == "again"
  assert os.listdir(tmp_path / "folder") == ["target"]


def test_an_error_keeps_the_old_file(tmp_path):
  (tmp_path / "out").write_text("old")
  with pytest.raises(RuntimeError), OutputFile(tmp_path / "out") as file:
    file.write(b"new")
    raise RuntimeError
  assert (tmp_path / "out").read_text() == "old"
  assert os.listdir(tmp_path) == ["out"]


def test_two_processes_do_not_write_one_file(tmp_path):
  """The second would have the bytes of both under the name."""
  path = tmp_path / "out"
  (tmp_path / "out.part").write_text("of one that was killed")
  with OutputFile(path) as file:
    file.write(b"first")
    with pytest.raises(OSError, match=r"another process writes out\.part; wait for"):
      write_file(path, b"second")
  assert path.read_text() == "first" and os.listdir(tmp_path) == ["out"]
  write_file(path, b"third")
  assert path.read_text() == "third"


def test_what_cannot_be_written_is_refused_at_once(tmp_path):
  for path, reason in (
    (tmp_path, "it is a directory"),
    (tmp_path / "none" / "out", "No such file or directory"),
  ):
    with pytest.raises(OSError, match=reason):
      OutputFile(path)


@pytest.mark.parametrize("size", [3, 1_000_000])
def test_a_full_disk_is_named(size):
  message = r"^/dev/full: cannot be written \(No space left on device\)$"
  with pytest.raises(OSError, match=message):
    write_file("/dev/full", b"x" * size)


@pytest.mark.parametrize(
  "words", [["translate", "{run}", "x"], ["export", "{run}"],
            ["score", "{run}", "--source", "{file}", "--reference", "{file}"]]
)  # fmt: skip
def test_every_verb_refuses_a_directory_before_the_work(
  run, call, tmp_path, words, monkeypatch
):
  from transformer.runs.run import Run

  monkeypatch.setattr(Run, "params", lambda *_: pytest.fail("it began to work"))
  (tmp_path / "file").write_text("x\n")
  words = [word.format(run=run, file=tmp_path / "file") for word in words]
  status, _, err = call(*words, "--output", tmp_path)
  assert status == 1 and err == (
    f"error: {tmp_path}: cannot be written (it is a directory; name a file)\n"
  )


def shell(script: str, *words, **settings):
  """`bash -c script` where `$T` is the command and `$1`, … the words."""
  environment = os.environ | {"T": f"{sys.executable} -m transformer.cli"}
  return subprocess.run(
    ["bash", "-c", script, "bash", *map(str, words)],
    cwd=ROOT, env=environment, capture_output=True, **settings,
  )  # fmt: skip


def test_process_substitution_and_dev_stdout(run, lines, call, tmp_path):
  _, expected, _ = call("translate", run, *SEARCH, lines[0])
  script = (
    'echo before; $T translate "$1" --beam 2 --extra 2 "$2" --output /dev/stdout\n'
    'echo after; $T translate "$1" --beam 2 --extra 2 "$2" --output >(gzip > "$3")\n'
    "wait $!"
  )
  done = shell(script, run, lines[0], tmp_path / "out.gz")
  assert done.returncode == 0, done.stderr
  assert done.stdout.decode() == f"before\n{expected}after\n"
  assert gzip.decompress((tmp_path / "out.gz").read_bytes()).decode() == expected


def test_closed_streams(run, lines, call):
  _, expected, _ = call("translate", run, *SEARCH, lines[0])
  for close, status, out, err in (
    ("<&-", 1, "", "error: standard input is closed; give texts or a file\n"),
    (">&-", 1, "", "error: standard output: cannot be written (it is closed)\n"),
    (">/dev/full", 1, "",
     "error: standard output: cannot be written (No space left on device)\n"),
    ("2>&-", 0, expected, ""),
  ):  # fmt: skip
    text = "" if close == "<&-" else '"$2"'
    done = shell(f'$T translate "$1" --beam 2 --extra 2 {text} {close}', run, lines[0])
    found = done.returncode, done.stdout.decode(), done.stderr.decode()
    assert found == (status, out, err), close


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_under_standard_output(run, unbuffered):
  script = f'PYTHONUNBUFFERED={unbuffered} $T info "$1" --json > /dev/full'
  done = shell(script, run)
  assert done.returncode == 1 and done.stderr.count(b"\n") == 1
  assert done.stderr.startswith(b"error: standard output: ")
  assert b"No space left on device" in done.stderr


@pytest.mark.slow
def test_training_on_a_cpu_says_nothing_of_other_devices(tmp_path):
  config = "from tests.tiny import TINY\n\ndef get_config():\n  return TINY\n"
  (tmp_path / "config.py").write_text(config)
  script = (
    "unset JAX_PLATFORMS; ${T% -m*} train.py --config $1/config.py --workdir $1/run "
    "--config.steps=1"
  )
  done = shell(script, tmp_path)
  assert done.returncode == 0, done.stderr
  lines = done.stderr.decode().splitlines()
  assert 5 < len(lines) < 9 and not re.search("(?i)tpu|cudnn|xla", "".join(lines))


def test_a_reader_that_goes_away_is_no_error(run, tmp_path):
  script = '$T info "$1" | true; echo "${PIPESTATUS[0]}"'
  done = shell(script, run)
  assert done.stdout.split() == [b"%d" % (128 + signal.SIGPIPE)]
  assert done.stderr == b""


def test_a_reader_of_settings_that_goes_away_is_no_error(tmp_path):
  command = f"{sys.executable} {ROOT}/train.py --config {ROOT}/configs/dates.py"
  script = f'{command} --config.help | true; echo "${{PIPESTATUS[0]}}"'
  done = shell(script, tmp_path)
  assert done.stdout.split() == [b"%d" % (128 + signal.SIGPIPE)]
  assert done.stderr == b""


def test_an_argument_that_is_not_utf_8(run, call):
  status, out, err = call("translate", run, *SEARCH, "1 M\udce4rz")
  assert status == 1 and out == ""
  assert err == (
    "error: '1 M\\udce4rz': invalid UTF-8 (0xe4 at character 4); convert the text to "
    "UTF-8\n"
  )
  status, _, err = call("translate", run, "--prefix", "\udce4", "x")
  assert status == 1 and err.startswith("error: --prefix: invalid UTF-8 (0xe4 at")


def test_a_mark_before_a_text_changes_nothing(run, lines, call, tmp_path):
  _, expected, _ = call("translate", run, *SEARCH, lines[0])
  (tmp_path / "in").write_bytes("\ufeff".encode() + lines[0].encode())
  (tmp_path / "IN.GZ").write_bytes(gzip.compress((tmp_path / "in").read_bytes()))
  for name in ("in", "IN.GZ"):
    assert call("translate", run, *SEARCH, "--input", tmp_path / name)[1] == expected
  assert call("translate", run, *SEARCH, f"\ufeff{lines[0]}")[1] == expected


def test_blank_lines_stay_empty_in_every_format(run, lines, call, tmp_path):
  blank = ["\t", "\xa0", "\u3000", "\u200b", "\ufeff\ufeff"]
  texts = [lines[0], *blank]
  (tmp_path / "in").write_text("".join(f"{text}\n" for text in texts))
  words = ["translate", run, *SEARCH, "--input", tmp_path / "in"]
  _, out, _ = call(*words)
  assert out.split("\n")[1:] == [""] * 6 and out.split("\n")[0]
  _, out, _ = call(*words, "--n-best", 2, "--scores")
  assert out.splitlines()[-5:] == [f"{n}\t\t" for n in range(2, 7)]
  _, out, _ = call(*words, "--json")
  records = [json.loads(line) for line in out.splitlines()]
  assert [record["hypotheses"] for record in records[1:]] == [[]] * 5
  _, out, _ = call("translate", run, "--stream", "--extra", 2, *texts)
  assert out.split("\n")[1:] == [""] * 6
  _, out, _ = call("score", run, "--source", tmp_path / "in", "--reference",
                   tmp_path / "in")  # fmt: skip
  assert [row.split("\t")[2] for row in out.splitlines()][1:] == ["1"] * 5


def test_n_best_and_mbr_widen_the_beam(run, lines, call):
  for flag in ("--n-best", "--mbr"):
    status, out, err = call("translate", run, "--extra", 2, flag, 5, lines[0])
    assert status == 0 and err == f"{flag} 5: searching with --beam 5\n"
    words = ("--extra", 2, flag, 5, "--beam", 5, lines[0])
    assert (0, out, "") == call("translate", run, *words)


def test_a_shortest_output_is_as_long_as_it_says(run, lines, call):
  words = ("--beam", 1, "--extra", 0, "--min-length", 40, "--json")
  _, out, _ = call("translate", run, *words, lines[0])
  assert len(json.loads(out)["hypotheses"][0]["tokens"]) >= 40


def read_only(folder: Path) -> None:
  for path in (folder, *folder.rglob("*")):
    path.chmod(0o555 if path.is_dir() else 0o444)


@pytest.fixture
def read_only_run(run, monkeypatch):
  """A run that others own, and a cache of one's own."""
  folder = Path(tempfile.mkdtemp())
  folder.chmod(0o755)
  shutil.copytree(run, folder / "run", ignore=shutil.ignore_patterns("cache", "eval*"))
  read_only(folder / "run")
  user = 65534 if os.geteuid() == 0 else os.geteuid()
  (folder / "own").mkdir()
  os.chown(folder / "own", user, -1)
  monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "own"))
  codecs.lookup(
    "utf-8-sig"
  )  # the interpreter's own files may not be the user's to read
  os.seteuid(user)
  yield folder / "run"
  if os.getuid() == 0:
    os.seteuid(0)
  for path in (folder / "run").rglob("*"):
    if path.is_dir():
      path.chmod(0o755)
  (folder / "run").chmod(0o755)
  shutil.rmtree(folder)


def test_a_read_only_run_is_used_by_every_verb_that_reads(
  read_only_run, lines, call, monkeypatch
):
  path, own = read_only_run, read_only_run.parent / "own"
  shown = path.parent / "text"
  monkeypatch.setattr(
    "transformer.data.sources.parallel_text.read_bytes",
    lambda file: "".join(f"{text}\n" for text in lines).encode(),
  )
  # The text is not that of the training, which this test is not about.
  monkeypatch.setattr("transformer.cli.evaluate.check_digest", lambda *_: None)
  status, out, err = call("evaluate", path, *SEARCH)
  assert status == 0 and "bleu: " in out, err
  assert err == (
    f"{path}/evaluations: read-only, nothing is stored; name a place with --output "
    "DIRECTORY\n"
  )
  assert len(list((own / "transformer" / "tokens").iterdir())) == 1
  status, again, err = call("evaluate", path, *SEARCH, "--output", own / "scores")
  assert (status, again, err) == (0, out, "")
  assert json.loads((own / "scores" / "test.json").read_text())["split"] == "test"
  status, out, err = call("evaluate", path, "--output", path / "scores")
  assert status == 1 and out == ""
  assert err == f"error: {path}/scores: cannot be written (Permission denied)\n"
  for words in (("info", path), ("translate", path, *SEARCH, lines[0])):
    status, out, err = call(*words)
    assert status == 0 and out, err
  assert not shown.exists()
