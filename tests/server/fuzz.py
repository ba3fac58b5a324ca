"""Random bodies for the server: none of them is a good request."""

import json
import random

NAMES = ("text", "beam", "n_best", "penalty", "sample", "seed", "stream", "model",
         "prefix", "extra", "min_length", "max_length", "texts", "Text", "__class__",
         "", "\ud800", "type", "a" * 300)  # fmt: skip
VALUES = (None, True, -1, 0, 3, 2**31, 10**400, 0.5, 1e400, "", "x", "\ud800", "\x00",
          "GNMT(", "GNMT(alpha=1e999)", "__import__('os')", "TopP(2)", "(" * 150,
          "Coverage(", [], [1], ["x"] * 3, [[]], {}, {"a": {}},
          "é" * 70_000)  # fmt: skip
TEXTS = (b"", b"{", b"null", b"[]", b"nan", b'{"text": NaN}', b"[" * 5000,
         b'{"text": "a", "text": "b"}', b"\xff\xfe\x00", b'{"text": "\xff"}',
         b'{"a":' * 3000, b"1" * 5000, b'"\\ud800"')  # fmt: skip


def random_body(draw: random.Random) -> bytes:
  """A body that must be refused."""
  kind = draw.random()
  if kind < 0.2:
    return draw.choice(TEXTS)
  if kind < 0.3:
    return draw.randbytes(draw.randint(0, 200))
  tree = {draw.choice(NAMES): draw.choice(VALUES) for _ in range(draw.randint(1, 4))}
  if kind < 0.6:
    tree["text"] = draw.choice(("a", ["a", "b"], ""))
  # Whatever else is right, this is not.
  wrong = {"beam": "four"} if draw.random() < 0.5 else {"tetx": 1}
  data = json.dumps({**tree, **wrong}).encode()
  if kind > 0.9:
    cut = draw.randrange(len(data))
    data = data[:cut] + bytes([draw.randrange(256)]) + data[cut + 2 :]
    # A body that came out right is broken once more.
    data = data[:-1]
  return data
