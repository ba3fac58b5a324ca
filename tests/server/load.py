"""Many clients at once against a server, a part of them broken or gone half-way:

    python -m tests.server.load RUN [--requests 10000] [--clients 64]

Starts `transformer serve RUN`, checks every answer against `Translator.translate`,
stops the server with SIGTERM under load, and prints what was found. The server and the
clients talk over the loopback alone.
"""

import argparse
import asyncio
import collections
import dataclasses
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.server.fuzz import random_body

ROOT = Path(__file__).resolve().parents[2]
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclasses.dataclass
class Answers:
  """What the clients got.

  Attributes:
    statuses: of whole answers, counted.
    wrong: answers that are not what they must be.
    retries: 429s, after which the request was sent again.
    hung_up: requests whose client left half-way.
    lost: why requests that were sent whole were not answered.
  """

  statuses: collections.Counter = dataclasses.field(default_factory=collections.Counter)
  wrong: list[str] = dataclasses.field(default_factory=list)
  retries: int = 0
  hung_up: int = 0
  lost: list[str] = dataclasses.field(default_factory=list)


class Connection:
  """One client's connection, kept open from request to request."""

  def __init__(self, port: int):
    self.port = port
    self.writer = None

  async def send(self, body: bytes, part: float = 1.0) -> None:
    """Sends a request to /translate, or the first part of one."""
    if self.writer is None:
      self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
    head = (
      f"POST /translate HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
      f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    data = head.encode() + body
    self.writer.write(data[: int(part * len(data))])
    await self.writer.drain()

  async def answer(self) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer."""
    head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    headers = dict(re.split(r":\s*", line.lower(), maxsplit=1) for line in lines)
    body = await self.reader.readexactly(int(headers["content-length"]))
    if headers.get("connection") == "close":
      await self.close()
    return int(first.split()[1]), headers, body

  async def close(self) -> None:
    """Hangs up."""
    if self.writer is not None:
      self.writer.close()
      self.writer = None


async def client(
  port: int, expected: dict[str, str], draw: random.Random, numbers, found: Answers
) -> None:
  """Sends requests until there are no numbers left, or the server is gone."""
  connection, texts = Connection(port), list(expected)
  for _ in numbers:
    kind = draw.random()
    try:
      if kind < 0.1:
        await connection.send(random_body(draw))
        status, _, body = await connection.answer()
        found.statuses[status] += 1
        if not 400 <= status < 500 or list(json.loads(body)) != ["error"]:
          found.wrong.append(f"a broken body got {status}: {body[:200]!r}")
        continue
      chosen = draw.choices(texts, k=draw.choice((1, 1, 1, 2, 5, 12)))
      data = json.dumps({"text": chosen}).encode()
      if kind < 0.2:
        await connection.send(data, draw.choice((0.2, 0.9, 1.0)))
        await asyncio.sleep(draw.random() * 0.1)
        await connection.close()
        found.hung_up += 1
        continue
      status = 429
      while status == 429:
        await connection.send(data)
        status, headers, body = await connection.answer()
        if status == 429:
          found.retries += 1
          await asyncio.sleep(min(int(headers["retry-after"]), 0.2))
    except (OSError, asyncio.IncompleteReadError) as error:
      found.lost.append(f"{kind:.2f} {error!r}")
      await connection.close()
      return
    found.statuses[status] += 1
    if status != 200:
      found.wrong.append(f"a good body got {status}: {body[:200]!r}")
      continue
    got = [best(each) for each in json.loads(body)["results"]]
    if got != [expected[text] for text in chosen]:
      found.wrong.append(f"{chosen}: {got}")
  await connection.close()


def best(result: dict) -> str:
  """The first translation of a result; empty where there is none."""
  return result["hypotheses"][0]["text"] if result["hypotheses"] else ""


async def run_clients(
  port: int, expected: dict[str, str], requests: int, clients: int, seed: int
) -> Answers:
  """Sends `requests` requests by `clients` clients at once."""
  found, numbers = Answers(), iter(range(requests))
  draws = [random.Random(f"{seed} {i}") for i in range(clients)]
  await asyncio.gather(*(client(port, expected, d, numbers, found) for d in draws))
  return found


class Server:
  """`transformer serve` in a process of its own, its log in a file."""

  def __init__(self, run: Path, log: Path, *flags: str):
    self.log = log
    with log.open("wb") as file:
      self.process = subprocess.Popen(
        [sys.executable, "-m", "transformer.cli", "serve", str(run), "--port", "0",
         *flags],
        cwd=ROOT, stderr=file, stdout=file,
      )  # fmt: skip
    deadline = time.monotonic() + 600
    while not (found := re.search(r"on http://[^:]+:(\d+)/", log.read_text())):
      if self.process.poll() is not None or time.monotonic() > deadline:
        self.process.kill()
        raise RuntimeError(f"the server did not start: {log.read_text()}")
      time.sleep(0.05)
    self.port = int(found[1])
    self.lines_before = log.read_text().count("\n")

  def resident(self) -> int:
    """Bytes of memory."""
    fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
    return int(fields[1]) * PAGE_BYTES

  def lines(self) -> list[str]:
    """The log since the start."""
    return self.log.read_text().splitlines()[self.lines_before :]

  def stop(self) -> int:
    """Sends SIGTERM, and returns the exit status."""
    self.process.send_signal(signal.SIGTERM)
    return self.process.wait(timeout=120)


async def stop_under_load(
  server: Server, expected: dict[str, str], clients: int
) -> tuple[Answers, int]:
  """Stops a server while clients ask; what they got until then, and its status."""
  asking = asyncio.create_task(
    run_clients(server.port, expected, 10**9, clients, seed=1)
  )
  await asyncio.sleep(2)
  status = await asyncio.to_thread(server.stop)
  return await asyncio.wait_for(asking, 60), status


def log_statuses(lines: list[str]) -> collections.Counter:
  """The statuses in lines of the log.

  Raises:
    ValueError: a line is not that of a request.
  """
  statuses: collections.Counter = collections.Counter()
  for line in lines:
    match = re.fullmatch(r"\S+Z 127\.0\.0\.1 POST /translate (\d+) [\d.]+s.*", line)
    if match is None:
      raise ValueError(f"not the line of a request: {line!r}")
    statuses[int(match[1])] += 1
  return statuses


def main() -> None:
  from transformer.runs.translator import Search, Translator

  parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
  parser.add_argument("run", type=Path)
  parser.add_argument("--requests", type=int, default=10_000)
  parser.add_argument("--clients", type=int, default=64)
  arguments = parser.parse_args()
  texts = texts_for(300)
  expected = dict(
    zip(texts, Translator.open(arguments.run, Search()).translate(texts), strict=True)
  )
  server = Server(arguments.run, Path("load.log"))
  try:
    check(server, expected, arguments.requests, arguments.clients)
  finally:
    server.process.kill()


def check(
  server: Server, expected: dict[str, str], requests: int, clients: int
) -> None:
  """Loads a server and stops it under load; raises AssertionError where it fails."""
  memory, start, total = [], time.monotonic(), collections.Counter()
  parts = 10
  for part in range(parts):
    found = asyncio.run(
      run_clients(server.port, expected, requests // parts, clients, part)
    )
    total += found.statuses
    memory.append(server.resident())
    assert not found.wrong and not found.lost, (found.wrong[:3], found.lost[:3])
    print(
      f"{time.monotonic() - start:.0f} s: {dict(found.statuses)}, {found.hung_up} hung "
      f"up, {found.retries} retries, {memory[-1] / 1e6:.0f} MB",
      flush=True,
    )
  lines = log_statuses(server.lines())
  found, status = asyncio.run(stop_under_load(server, expected, clients))
  after = log_statuses(server.lines()) - lines
  print(f"log: {dict(lines)}; memory {[m // 10**6 for m in memory]} MB")
  print(f"SIGTERM: exit {status}, clients {dict(found.statuses)}, log {dict(after)}")
  assert status == 0 and not found.wrong, (status, found.wrong[:3])
  assert after[200] >= found.statuses[200] and after[500] == 0


def texts_for(count: int) -> list[str]:
  """Dates as the run reads them, some of them several at once, and odd texts."""
  from transformer.data.sources.dates import Dates

  pairs = Dates(examples=count, held_out=count).open("test")
  draw = random.Random(0)
  texts = [pairs[i][0] for i in range(count)]
  longer = [" ".join(draw.choices(texts, k=draw.randint(2, 5))) for _ in range(20)]
  odd = ["", " ", "😀", "ß" * 40, "a\nb"]
  return list(dict.fromkeys([*texts, *longer, *odd]))


if __name__ == "__main__":
  main()
