"""A run as something that goes on with a text, and the verb for it."""

import argparse
import json
from pathlib import Path

RECIPES = "Sampler(), Temperature(0.8), TopK(50), TopP(0.9), MinP(0.1)"


def flags(new: argparse.ArgumentParser) -> None:
  """What `generate` takes beside the run and its step."""
  new.add_argument(
    "texts", metavar="PROMPT", nargs="*", help="default: the beginning of a text"
  )
  new.add_argument(
    "--sample", default="TopP(0.9)", metavar="RECIPE",
    help=f"how a token is chosen: {RECIPES} (default TopP(0.9)); the first is greedy",
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
  from transformer.tasks.generation import Generation

  recipe = Generation(
    max_length=arguments.max_length, samples=arguments.samples, seed=arguments.seed
  )
  try:
    recipe = configs.override(recipe, "sampler", arguments.sample)
  except ValueError as error:
    raise ValueError(str(error).replace("--config.sampler", "--sample")) from None
  prompts = arguments.texts or [""]
  if arguments.stream and (len(prompts) > 1 or recipe.samples > 1 or arguments.json):
    raise ValueError("--stream shows one text: give one prompt, and neither --samples "
                     "nor --json")  # fmt: skip
  continuer = open_run(arguments.run, recipe, arguments.step)
  if arguments.stream:
    for text in continuer.stream(prompts[0]):
      print(text, end="", flush=True)
    print()
    return
  for prompt, texts in zip(prompts, continuer.texts(prompts), strict=True):
    if arguments.json:
      print(json.dumps({"prompt": prompt, "texts": texts}, ensure_ascii=False))
    else:
      print("\n".join(texts))


def open_run(path: Path | str, recipe, step: int | None = None):
  """A run's `Continuer`.

  Args:
    path: its directory.
    recipe: a `Generation`.
    step: the checkpoint; the newest if None.

  Raises:
    FileNotFoundError: it is not a run, or has no such checkpoint.
    ValueError: it is damaged, or its task is no language modelling.
  """
  from transformer.run import Run
  from transformer.tasks.generation import Continuer
  from transformer.tasks.language import LanguageModelling

  run = Run.open(path)
  task = run.config.task
  if not isinstance(task, LanguageModelling):
    raise ValueError(
      f"{run.path}: its task is {type(task).__name__}, and nothing to generate from; "
      f"use: transformer {task.verb} {run.path}"
    )
  params = run.params(step)
  return Continuer(run.module(), params, run.tokenizer, recipe, task.context)
