"""A run's numbers on disk: `metrics.csv`, and TensorBoard."""

from pathlib import Path

from transformer.runs.directory import write_atomic
from transformer.runs.processes import is_primary


class Metrics:
  """`metrics.csv` and TensorBoard, the same numbers in both, written by the first
  process alone."""

  def __init__(self, path: Path, step: int):
    """Continues after `step`: rows of later steps, from before a stop, are removed."""
    self._is_primary = is_primary()
    if not self._is_primary:
      return
    self._path = path / "metrics.csv"
    rows = [row for row in self.read(path) if row[0] <= step]
    text = "step,name,value\n" + "".join(f"{s},{n},{v!r}\n" for s, n, v in rows)
    write_atomic(self._path, text.encode())
    self._file = self._path.open("a", encoding="utf-8")
    # Not at the top: it imports PyTorch where that is installed.
    import tensorboardX

    self._board = tensorboardX.SummaryWriter(
      str(path / "tensorboard"), purge_step=step + 1
    )

  def write(self, step: int, values: dict[str, float]) -> None:
    """Adds numbers of a step."""
    if not self._is_primary:
      return
    for name, value in values.items():
      self._file.write(f"{step},{name},{float(value)!r}\n")
      self._board.add_scalar(name, float(value), step)
    self._file.flush()

  def close(self) -> None:
    """Flushes and closes both."""
    if not self._is_primary:
      return
    self._file.close()
    self._board.close()

  @staticmethod
  def read(path: Path) -> list[tuple[int, str, float]]:
    """All rows of a run's `metrics.csv`; what is no row is skipped, as a last line cut
    short while it is being written."""
    file = path / "metrics.csv"
    if not file.is_file():
      return []
    rows = []
    with file.open(encoding="utf-8", errors="replace") as lines:
      for line in lines:
        if not line.endswith("\n"):
          break
        try:
          step, name, value = line.split(",")
          rows.append((int(step), name, float(value)))
        except ValueError:
          continue
    return rows
