"""`generate`: what a language model makes of the beginning of a text."""

import json

from transformer.cli import flags


def generate_flags(new: flags.Verb) -> None:
  """What goes in, and how it goes on."""
  new.add_argument(
    "texts", metavar="PROMPT", nargs="*", help="default: the beginning of a text"
  )
  new.recipe(
    "--sample", "decoding.sample:Sampler",
    "how a token is chosen (default TopP(0.9); Sampler() is greedy)",
    default="TopP(0.9)",
  )  # fmt: skip
  new.add_argument(
    "--seed", type=int, default=0, help="fixes what is drawn (default 0)"
  )
  new.add_argument(
    "--max-length", type=int, default=64, help="the most new tokens (default 64)"
  )
  new.add_argument("--samples", type=int, default=1, help="texts for every prompt")
  new.add_argument("--stream", action="store_true", help="shows each token as it comes")
  new.add_argument(
    "--json", action="store_true", help="one JSON object for every prompt"
  )


def generate(arguments) -> None:
  """Goes on with prompts, or begins a text."""
  from transformer import config as configs
  from transformer.decoding.sample import Sampler
  from transformer.inference.generate import Generation
  from transformer.runs.generator import Generator

  recipe = Generation(
    max_length=arguments.max_length,
    samples=arguments.samples,
    seed=arguments.seed,
    sampler=configs.parse(arguments.sample, Sampler, "--sample"),
  )
  prompts = arguments.texts or [""]
  if arguments.stream and (len(prompts) > 1 or recipe.samples > 1 or arguments.json):
    raise ValueError("--stream shows one text: give one prompt, and neither --samples "
                     "nor --json")  # fmt: skip
  generator = Generator.open(arguments.run, recipe, arguments.step)
  if arguments.stream:
    for text in generator.stream(prompts[0]):
      print(text, end="", flush=True)
    print()
    return
  for prompt, texts in zip(prompts, generator.texts(prompts), strict=True):
    if arguments.json:
      print(json.dumps({"prompt": prompt, "texts": texts}, ensure_ascii=False))
    else:
      print("\n".join(texts))
