"""Overriding, storing and checking configs, on a family made up for the purpose."""

import dataclasses
import json
from typing import Literal

import pytest

from transformer import config as configs


@dataclasses.dataclass(frozen=True)
class Shape:
  """No shape."""


@dataclasses.dataclass(frozen=True)
class Circle(Shape):
  radius: float = 1.0
  filled: bool = False


@dataclasses.dataclass(frozen=True)
class Group(Shape):
  left: Shape = Shape()
  right: Shape = Circle()
  names: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Named(Shape):
  name: str


@dataclasses.dataclass(frozen=True)
class Picture:
  shape: Shape = Circle()
  steps: int = 10
  rate: float = 0.1
  title: str = ""
  loud: bool = True
  seed: int | None = None
  sizes: tuple[int, ...] = (1, 2)
  pair: tuple[int, float] = (1, 2.0)
  mode: Literal["fast", "slow"] = "fast"

  def __post_init__(self):
    configs.check_at_least("steps", self.steps, 1)


@pytest.mark.parametrize(
  "path, text, expected",
  [
    ("steps", "7", 7),
    ("steps", "1e5", 100_000),
    ("rate", "3", 3.0),
    ("rate", "1e-4", 1e-4),
    ("rate", "-2.5", -2.5),
    ("title", "a = 3, 'b'", "a = 3, 'b'"),
    ("title", "12", "12"),
    ("loud", "false", False),
    ("loud", "True", True),
    ("seed", "3", 3),
    ("seed", "none", None),
    ("sizes", "(3, 4, 5)", (3, 4, 5)),
    ("sizes", "3,", (3,)),
    ("sizes", "()", ()),
    ("pair", "(2, 3)", (2, 3.0)),
    ("mode", "slow", "slow"),
    ("shape", "Shape()", Shape()),
    ("shape", "Circle", Circle()),
    ("shape", "Circle(radius=5e5)", Circle(5e5)),
    ("shape", "Circle(2, True)", Circle(2.0, True)),
    ("shape", "Named('x y')", Named("x y")),
    ("shape", "Group(right=Group(left=Circle(3)), names=('a',))",
     Group(right=Group(left=Circle(3.0)), names=("a",))),
  ],
)  # fmt: skip
def test_override_converts_to_the_declared_type(path, text, expected):
  value = getattr(configs.override(Picture(), path, text), path)
  assert value == expected and type(value) is type(expected)
  if isinstance(expected, tuple):
    assert [type(v) for v in value] == [type(v) for v in expected]


def test_override_walks_the_dots_and_leaves_the_rest():
  start = Picture(shape=Group(right=Circle(2.0, True)), steps=4)
  changed = configs.override(start, "shape.right.radius", "9")
  assert changed == Picture(shape=Group(right=Circle(9.0, True)), steps=4)
  assert start.shape.right.radius == 2.0
  assert configs.override(start, "shape", "Circle()").shape == Circle()


@pytest.mark.parametrize(
  "path, text, message",
  [
    ("step", "3", r"--config\.step: no such field; did you mean steps\?"),
    ("shape.radios", "3", r"did you mean shape\.radius\?"),
    ("steps", "many", "--config.steps: expected an integer, got 'many'"),
    ("steps", "1.5", "expected an integer, got '1.5'"),
    ("steps", "True", "expected an integer"),
    ("steps", "9" * 30, "expected an integer smaller than"),
    ("rate", "fast", "expected a number"),
    ("rate", "nan", "--config.rate: expected a finite number, got nan"),
    ("rate", "-inf", "--config.rate: expected a finite number, got -inf"),
    ("shape.radius", "1e999", "radius: expected a finite number, got inf"),
    ("shape", "Group(left=Circle(nan))", "radius: expected a finite number, got nan"),
    ("pair", "(1, inf)", "pair: expected a finite number, got inf"),
    ("rate", "-1e300", "--config.rate: expected 0 or a number of float32, .*, got -1e"),
    ("pair", "(1, 1e-320)", "pair: expected 0 or a number of float32"),
    ("loud", "2", "expected true or false"),
    ("sizes", "(1, 'a')", "expected a tuple"),
    ("sizes", "5", r"expected a tuple such as \(2, 2\), got .*5.*; write \(.*5.*,\)"),
    ("pair", "(1, 2, 3)", "expected a tuple"),
    ("mode", "medium", "expected 'fast' or 'slow'"),
    ("shape", "Cirkle()", "no Shape is named Cirkle; did you mean Circle"),
    ("shape", "3", r"expected a Shape \(Circle, Group, Named, Shape, Wheel\), got '3'"),
    ("shape", "Circle(radios=3)", r"did you mean radius\?"),
    ("shape", "Circle(radius='x')", "Circle.radius: expected a number, got 'x'"),
    ("shape", "Circle(1, False, 3)", "takes at most 2"),
    ("shape", "Circle(1, radius=2)", "Circle.radius is set twice"),
    ("shape", "Named()", "Named needs name"),
    ("shape", "Picture()", "no Shape is named Picture"),
    ("shape", "__import__('os').system('true')", "expected a Shape"),
    ("shape", "Circle(radius=open('x'))", "Circle.radius: expected a number"),
    ("shape", "Circle(", "expected a Shape"),
    ("steps.x", "3", "steps is 10, without fields"),
    ("steps", "0", "^--config.steps: expected 1 or more, got 0"),
  ],
)
def test_override_refuses_with_one_line(path, text, message):
  with pytest.raises(ValueError, match=message) as error:
    configs.override(Picture(), path, text)
  assert "\n" not in str(error.value)


def test_flags_are_taken_out_in_order():
  argv = ["x", "--config.a.b=1", "--other=2", "--config.c", "3", "--config.a.b=4=5"]
  overrides, rest = configs.split_flags(argv)
  assert overrides == [("a.b", "1"), ("c", "3"), ("a.b", "4=5")]
  assert rest == ["x", "--other=2"]
  bare, _ = configs.split_flags(["--config.c", "--config.loud"])
  assert bare == [("c", None), ("loud", None)]


@dataclasses.dataclass(frozen=True)
class Wheel(Shape):
  spokes: int = 8
  hub: Shape = Shape()

  def __post_init__(self):
    configs.check_at_least("spokes", self.spokes, 3)
    if isinstance(self.hub, Wheel):
      raise ValueError("a wheel in a wheel does not turn")


def test_a_message_names_its_setting_once():
  picture = Picture(shape=Wheel())

  def message(function, *arguments):
    with pytest.raises(ValueError) as error:
      function(*arguments)
    return str(error.value)

  spokes = "spokes: expected 3 or more, got 2"
  override = configs.override
  assert message(override, picture, "shape.spokes", "2") == f"--config.shape.{spokes}"
  assert (
    message(override, picture, "shape", "Wheel(2)") == f"--config.shape: Wheel.{spokes}"
  )
  tree = configs.dump(picture)
  tree["shape"]["spokes"] = 2
  assert message(configs.load, Picture, tree) == f"config.shape.{spokes}"
  # What is not about one setting keeps its own words.
  assert message(override, picture, "shape.hub", "Wheel()") == (
    "--config.shape.hub: a wheel in a wheel does not turn"
  )


def test_a_flag_without_a_value_is_true_where_that_can_be():
  quiet = Picture(loud=False)
  assert configs.override(quiet, "loud", None) == Picture()
  with pytest.raises(ValueError, match=r"--config\.steps"):
    configs.override(quiet, "steps", None)


FULL = Picture(
  shape=Group(Named("x"), Circle(1e30), ("a", "b")), rate=-2.5, seed=4,
  sizes=(), title="é\n", mode="slow",
)  # fmt: skip


@pytest.mark.parametrize("config", [Picture(), FULL])
def test_json_round_trip(config):
  text = configs.dumps(config)
  json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
  assert configs.loads(Picture, text) == config
  assert hash(configs.loads(Picture, text)) == hash(config)
  assert configs.digest(configs.loads(Picture, text)) == configs.digest(config)
  assert configs.digest(Picture()) != configs.digest(FULL)


def test_absent_fields_take_their_defaults():
  assert configs.load(Picture, {"type": "Picture", "steps": 3}) == Picture(steps=3)


def deep():
  tree = {"type": "Circle"}
  for _ in range(50):
    tree = {"type": "Group", "left": tree}
  return tree


@pytest.mark.parametrize(
  "tree, message",
  [
    ([], "expected a Picture"),
    ({}, '"type" of the object is missing'),
    ({"type": "Circle"}, "no Picture is named Circle"),
    ({"type": "Picture", "stepz": 3}, r"did you mean steps\?"),
    ({"type": "Picture", "steps": "3"}, r"config\.steps: expected an integer"),
    ({"type": "Picture", "steps": 2**70}, r"config\.steps"),
    ({"type": "Picture", "steps": {"type": "float", "value": "nan"}}, r"config\.steps"),
    ({"type": "Picture", "rate": 1e999}, "Infinity is not a JSON number"),
    ({"type": "Picture", "steps": True}, r"config\.steps"),
    ({"type": "Picture", "title": "x" * 70_000}, "at most 65536 characters, got 70000"),
    ({"type": "Picture", "shape": {"type": "os.system"}}, "os.system"),
    ({"type": "Picture", "shape": {"type": "Named"}}, "Named needs name"),
    ({"type": "Picture", "shape": {"type": "Circle", "radius": {}}}, "radius"),
    ({"type": "Picture", "shape": {"type": ["Circle"]}}, "Circle"),
    ({"type": "Picture", "shape": deep()}, "more than 16 levels deep"),
    ({"type": "Picture", "sizes": [[1]]}, r"config\.sizes"),
    ({"type": "Picture", "steps": -1}, r"^config\.steps: expected 1 or more, got -1"),
    ({"type": "Picture", "loud": None}, r"config\.loud"),
  ],
)
def test_a_stored_config_that_is_not_ours_is_refused(tree, message):
  with pytest.raises(ValueError, match=message) as error:
    configs.loads(Picture, json.dumps(tree))
  assert "\n" not in str(error.value)


def test_what_is_not_json_is_refused():
  for text in ("", "{", "[" * 100_000):
    with pytest.raises(ValueError, match="not JSON"):
      configs.loads(Picture, text)


@pytest.mark.parametrize(
  "config, message",
  [
    (Picture(steps=3.0), r"config\.steps: expected an integer, got 3\.0"),
    (Picture(sizes=[1, 2]), "use a tuple"),
    (Picture(shape=Picture()), r"config\.shape: expected a Shape"),
    (Picture(shape=Circle(radius="x")), r"config\.shape\.radius"),
    (Picture(seed="x"), "expected an integer or none"),
    (Picture(shape=Circle(float("nan"))), r"config\.shape\.radius: expected a finite"),
  ],
)
def test_check_finds_what_python_let_through(config, message):
  with pytest.raises(ValueError, match=message):
    configs.check(config)
  configs.check(FULL)


def test_differences_have_dotted_paths():
  other = dataclasses.replace(FULL, steps=3, shape=Group(Named("y"), Circle(1e30)))
  assert configs.differences(FULL, other) == [
    ("shape.left.name", "x", "y"),
    ("shape.names", ("a", "b"), ()),
    ("steps", 10, 3),
  ]
  assert configs.differences(FULL, FULL) == []
  paths = [path for path, _, _ in configs.differences(Picture(), FULL)]
  assert paths[0] == "shape"


def test_members_are_the_family_and_two_of_one_name_are_refused():
  assert list(configs.members(Shape)) == ["Circle", "Group", "Named", "Shape", "Wheel"]

  @dataclasses.dataclass(frozen=True)
  class Alone:
    pass

  def twin():
    @dataclasses.dataclass(frozen=True)
    class Twin(Alone):
      pass

    return Twin

  older, newer = twin(), twin()
  # As when a config file is read twice: one class, of which the newest counts.
  assert configs.members(Alone) == {"Alone": Alone, "Twin": newer}
  older.__module__, newer.__module__ = "file:/a/twin.py", "file:/b/twin.py"
  assert configs.members(Alone)["Twin"] is newer
  newer.__module__ = "file:/b/other.py"
  with pytest.raises(ValueError, match=r"Twin \(in file:/a/twin.py and file:/b/other"):
    configs.members(Alone)
  newer.__module__ = older.__module__
  older.__qualname__ = "Another.Twin"
  with pytest.raises(ValueError, match="two members are named Twin"):
    configs.members(Alone)
