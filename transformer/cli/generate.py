"""`transformer generate`: texts from a language model."""

from transformer.cli import flags
from transformer.cli.lines import Output, add_texts, as_json, check_argument
from transformer.data.text import BYTE_ORDER_MARK


def add_arguments(parser: flags.VerbParser) -> None:
  """The prompts, and how they are continued."""
  flags.add_run(parser)
  add_texts(
    parser,
    "beginnings of texts (default: none, a text from its first token on)",
    metavar="PROMPT",
  )
  parser.add_recipe_argument(
    "--sample", "decoding.samplers:Sampler",
    "how each token is chosen (default TopP(0.9); Sampler() is greedy)",
    default="TopP(0.9)",
  )  # fmt: skip
  parser.add_argument(
    "--seed", type=int, default=0, metavar="N", help="random seed (default 0)"
  )
  parser.add_argument(
    "--max-length", type=int, metavar="N",
    help="generate at most N new tokens (default 64, or what the context has room for)",
  )  # fmt: skip
  parser.add_argument(
    "--samples", type=int, default=1, metavar="N", help="texts per prompt (default 1)"
  )
  parser.add_argument(
    "--stream", action="store_true", help="print each token as soon as it is generated"
  )
  flags.add_json(parser, " per prompt")
  flags.add_mesh(parser)
  flags.add_step(parser)


def run(arguments) -> None:
  """Continue prompts, or generate texts from nothing, with a language model."""
  from transformer import config as configs
  from transformer.decoding.samplers import Sampler
  from transformer.inference.generate import Generation
  from transformer.runs.generator import Generator

  for flag, value in (
    ("--max-length", arguments.max_length),
    ("--samples", arguments.samples),
  ):
    if value is not None:
      configs.check_at_least(flag, value, 1)
  flags.check_seed(arguments.seed)
  prompts = [
    check_argument(text.removeprefix(BYTE_ORDER_MARK)) for text in arguments.texts
  ]
  prompts = prompts or [""]
  if arguments.stream and (len(prompts) > 1 or arguments.samples > 1 or arguments.json):
    raise ValueError(
      "--stream prints one text; give one prompt, and neither --samples nor --json"
    )
  recipe = Generation(
    max_length=arguments.max_length,
    samples=arguments.samples,
    seed=arguments.seed,
    sampler=configs.parse(arguments.sample, Sampler, "--sample"),
  )
  generator = Generator.open(
    arguments.run_path, recipe, arguments.step, flags.devices_from(arguments)
  )
  with Output(None) as output:
    if arguments.stream:
      for text in generator.stream(prompts[0]):
        output.write_text(text)
      output.write_text("\n")
      return
    for prompt, texts in zip(prompts, generator.texts(prompts), strict=True):
      if arguments.json:
        output.write_text(as_json({"prompt": prompt, "texts": texts}) + "\n")
      else:
        output.write_text("".join(f"{text}\n" for text in texts))
