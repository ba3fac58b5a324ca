"""Plants faults, one at a time, in a copy of the package and runs the tests that should
find it: `python -m tests.planted_faults [NAME ...]`. Prints what was found and the time
that it took; the exit status is 1 if any fault was not found.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("transformer", "tests", "configs", "docs", "train.py", "pyproject.toml")


class Fault(NamedTuple):
  """A small change that makes the package wrong.

  Attributes:
    name: for the command line.
    what: what is wrong.
    file: the file of the package that is changed.
    before, after: the text that is replaced, which occurs once, and its replacement.
    tests: the pytest node ids of fast tests, one of which must fail.
  """

  name: str
  what: str
  file: str
  before: str
  after: str
  tests: tuple[str, ...]


FAULTS = (
  Fault(
    "resume-conflict",
    "Only settings that may differ are refused on resuming.",
    "transformer/experiment.py",
    "if not may_change:",
    "if may_change:",
    (
      (
        "tests/test_configs.py::"
        "test_only_settings_of_speed_and_length_may_change_on_resume"
      ),
    ),
  ),
  Fault(
    "hash-ignores-place",
    "The checksum does not depend on where an element lies.",
    "transformer/hashing.py",
    "finalise(index(x.shape) + jnp.uint32(1))",
    "jnp.uint32(1)",
    ("tests/test_hashing.py::test_the_host_computes_the_checksums_of_devices",),
  ),
  Fault(
    "hash-index-column-major",
    "The element index strides over the axes in the wrong order.",
    "transformer/hashing.py",
    "reversed(range(len(shape)))",
    "range(len(shape))",
    ("tests/test_hashing.py::test_the_index_is_row_major",),
  ),
  Fault(
    "flops-forward",
    "The backward pass is counted as one forward pass.",
    "transformer/analysis/counts.py",
    "return 3 * jaxpr_flops",
    "return 2 * jaxpr_flops",
    ("tests/studies/test_rows.py::test_flops_are_three_forward_passes",),
  ),
  Fault(
    "hlo-spread",
    "Devices of a group are counted one too few.",
    "transformer/analysis/hlo.py",
    "max(max(group) - min(group) + 1 for group in members)",
    "max(max(group) - min(group) for group in members)",
    (
      (
        "tests/analysis/test_hlo.py::"
        "test_collectives_are_counted_with_the_loops_around_them"
      ),
    ),
  ),
  Fault(
    "hlo-all-reduce",
    "An all-reduce sends half of what it does.",
    "transformer/analysis/hlo.py",
    '"all-reduce": 2 * (group - 1) / group',
    '"all-reduce": (group - 1) / group',
    (
      (
        "tests/analysis/test_hlo.py::"
        "test_collectives_are_counted_with_the_loops_around_them"
      ),
    ),
  ),
  Fault(
    "hlo-groups",
    "Groups of devices are transposed.",
    "transformer/analysis/hlo.py",
    "numbers.reshape(shape).transpose(outer + order)",
    "numbers.reshape(shape).transpose(order + outer)",
    (
      (
        "tests/analysis/test_hlo.py::"
        "test_groups_of_devices_are_read_however_they_are_written"
      ),
    ),
  ),
  Fault(
    "search-errors",
    "References that score worse count as search errors.",
    "transformer/cli/evaluate.py",
    "sum(reference > best +",
    "sum(reference < best +",
    (
      (
        "tests/cli/test_compare.py::"
        "test_a_reference_that_scores_better_is_a_search_error"
      ),
    ),
  ),
  Fault(
    "config-bool",
    "A flag without a value is false.",
    "transformer/config/command_line.py",
    "    return True\n\n  try:",
    "    return False\n\n  try:",
    (
      (
        "tests/config/test_config.py::"
        "test_a_flag_without_a_value_is_true_where_that_can_be"
      ),
    ),
  ),
  Fault(
    "conflict-value",
    "A changed nested recipe is no difference.",
    "transformer/config/serialisation.py",
    "    return [(path, a, b)]\n  if not",
    "    return []\n  if not",
    ("tests/config/test_config.py::test_differences_have_dotted_paths",),
  ),
  Fault(
    "minimum",
    "A setting may be one below its minimum.",
    "transformer/config/validation.py",
    "if not value >= minimum:",
    "if not value >= minimum - 1:",
    ("tests/test_configs.py::test_a_config_names_the_setting_that_is_out_of_range",),
  ),
  Fault(
    "packed-positions",
    "Positions of a packed row do not restart for each example.",
    "transformer/data/assemble.py",
    "flat[1, slot_n] = position_n",
    "flat[1, slot_n] = slot_n % length",
    ("tests/data/test_data.py::test_batches_hold_the_tokens_of_their_examples",),
  ),
  Fault(
    "pack-one-side",
    "A row is packed when one side has space and not both.",
    "transformer/data/packing.py",
    "jnp.all(room >= need_s[:, None], axis=0)",
    "jnp.any(room >= need_s[:, None], axis=0)",
    ("tests/data/test_data.py::test_packing_fills_rows_and_overfills_none",),
  ),
  Fault(
    "shuffle-epoch",
    "Every epoch has the same order.",
    "transformer/data/batching.py",
    "np.random.default_rng([self.seed, epoch])",
    "np.random.default_rng([self.seed])",
    (
      (
        "tests/data/test_data.py::"
        "test_every_epoch_has_every_example_once_in_an_order_of_its_own"
      ),
    ),
  ),
  Fault(
    "drop-longest",
    "Examples that fill the longest shape are dropped.",
    "transformer/data/left_out.py",
    "lengths_n2.max(axis=1) > limit",
    "lengths_n2.max(axis=1) >= limit",
    ("tests/data/test_data.py::test_what_does_not_fit_is_left_out_and_counted",),
  ),
  Fault(
    "pieces-start",
    "A piece of a text begins one token late.",
    "transformer/data/corpus.py",
    "ids[self.start_n[i] : self.start_n[i]",
    "ids[self.start_n[i] + 1 : self.start_n[i]",
    ("tests/tasks/test_language_modelling.py::test_pieces_are_the_texts_in_order",),
  ),
  Fault(
    "corpus-pairs",
    "The targets of a corpus are its sources.",
    "transformer/data/corpus.py",
    "self._offsets[self.sides * i :",
    "self._offsets[i :",
    ("tests/data/test_data.py::test_a_corpus_is_the_text_and_is_made_once",),
  ),
  Fault(
    "mirror",
    "Augmentation flips images upside down.",
    "transformer/data/images.py",
    "image_yxc[:, ::-1] if flip",
    "image_yxc[::-1] if flip",
    (
      (
        "tests/data/test_images.py::"
        "test_a_shifted_image_is_a_part_of_the_image_or_of_its_mirror_image"
      ),
    ),
  ),
  Fault(
    "augment-step",
    "Augmentation is the same at every step.",
    "transformer/data/images.py",
    "[self.seed, step, int(row)]",
    "[self.seed, int(row)]",
    (
      (
        "tests/tasks/test_classification.py::"
        "test_training_sees_a_pure_function_of_seed_and_step"
      ),
    ),
  ),
  Fault(
    "gnmt-divisor",
    "The GNMT length penalty divides by 5 instead of 6.",
    "transformer/decoding/penalty.py",
    "/ 6.0)",
    "/ 5.0)",
    ("tests/decoding/test_penalty.py::test_divisors_are_those_of_the_papers",),
  ),
  Fault(
    "bound-ignores-longest",
    "The early-stopping bound uses only the divisor of the next length.",
    "transformer/decoding/penalty.py",
    "return logprob / jnp.maximum(*ends)",
    "return logprob / ends[0]",
    ("tests/decoding/test_penalty.py::test_bound_is_reached_and_never_passed",),
  ),
  Fault(
    "distinct-one-too-many",
    "distinct returns one text more than asked.",
    "transformer/decoding/rerank.py",
    "if len(first) == n:",
    "if len(first) == n + 1:",
    ("tests/decoding/test_rerank.py::test_distinct_leaves_out_near_duplicates",),
  ),
  Fault(
    "mbr-counts-itself",
    "A candidate is its own reference in minimum Bayes risk.",
    "transformer/decoding/rerank.py",
    "times = count - (other == text)",
    "times = count",
    ("tests/decoding/test_rerank.py::test_mbr_is_the_mean_chrf_over_the_others",),
  ),
  Fault(
    "distinct-drops-symbols",
    "Symbols are ignored when near duplicates are found.",
    "transformer/decoding/rerank.py",
    'in "LMNS"',
    'in "LMN"',
    ("tests/decoding/test_rerank.py::test_distinct_keeps_what_differs_in_meaning",),
  ),
  Fault(
    "round-up",
    "A sequence of just a declared length is padded to the next.",
    "transformer/inference/batches.py",
    "if length <= declared:",
    "if length < declared:",
    (
      (
        "tests/inference/test_batches.py::"
        "test_lengths_are_the_smallest_that_hold_a_sequence"
      ),
    ),
  ),
  Fault(
    "limit-eos",
    "The limit of an output counts the EOS of its source.",
    "transformer/inference/search.py",
    "self.search.limit(len(ids) - 1)",
    "self.search.limit(len(ids))",
    (
      (
        "tests/inference/test_search.py::"
        "test_every_output_ends_and_stays_within_its_own_limit"
      ),
    ),
  ),
  Fault(
    "int8-zero-scale",
    "An int8 token of zeros divides by zero.",
    "transformer/layers/int8.py",
    "scale = jnp.where(most > 0, most, 1.0) / MOST",
    "scale = most / MOST",
    ("tests/layers/test_int8.py::test_a_token_of_zeros_gives_zeros",),
  ),
  Fault(
    "int8-scale-axis",
    "The scales of int8 weights are shared over an axis too many.",
    "transformer/layers/int8.py",
    "first + len(summed))))",
    "first + len(summed) + 1)))",
    (
      (
        "tests/layers/test_int8.py::"
        "test_a_product_is_one_of_whole_numbers_times_its_scales"
      ),
    ),
  ),
  Fault(
    "rnn-reset",
    "A recurrent network reads on from the packed example before.",
    "transformer/layers/rnn.py",
    "return edge[None, :] | (seg_bt != before_bt)",
    "return edge[None, :] | (seg_bt != seg_bt)",
    ("tests/layers/test_rnn.py::test_begins_is_literal",),
  ),
  Fault(
    "decoder-only-causal",
    "The language model attends to later tokens.",
    "transformer/models/decoder_only.py",
    "is_causal=True",
    "is_causal=False",
    (
      (
        "tests/models/test_decoder_only.py::"
        "test_a_future_token_changes_no_earlier_output_exactly"
      ),
    ),
  ),
  Fault(
    "memory-hop",
    "Every hop of the memory network reads the same matrix.",
    "transformer/models/memory_network.py",
    "hop(u_bd, memory[l], memory[l + 1], real_bs)",
    "hop(u_bd, memory[l], memory[l], real_bs)",
    ("tests/models/test_memory_network.py::test_the_whole_network_is_the_oracles",),
  ),
  Fault(
    "resnet-stride",
    "The first stage of a ResNet halves the size.",
    "transformer/models/resnet.py",
    "stride = 2 if stage and not i else 1",
    "stride = 2 if not i else 1",
    ("tests/models/test_vision.py::test_the_stem_of_imagenet_shrinks_by_four",),
  ),
  Fault(
    "maxout",
    "RNNsearch takes the smaller of each pair of the maxout layer.",
    "transformer/models/rnn_search.py",
    "return jnp.max(y_btpf, axis=2)",
    "return jnp.min(y_btpf, axis=2)",
    ("tests/models/test_rnn_search.py::test_the_whole_model_is_the_oracle",),
  ),
  Fault(
    "xl-memory-order",
    "The memory of Transformer-XL keeps its oldest tokens.",
    "transformer/models/transformer_xl.py",
    "x_lbmd[:, :, first:], seg_bm[:, first:]",
    "x_lbmd[:, :, :most], seg_bm[:, :most]",
    (
      (
        "tests/models/test_transformer_xl.py::"
        "test_within_a_shorter_memory_it_is_one_pass_that_sees_no_farther"
      ),
    ),
  ),
  Fault(
    "xl-gradient",
    "The memory of Transformer-XL gets a gradient.",
    "transformer/models/transformer_xl.py",
    "jax.lax.stop_gradient(memory_bmd.astype(x_btd.dtype))",
    "memory_bmd.astype(x_btd.dtype)",
    (
      (
        "tests/models/test_transformer_xl.py::"
        "test_what_is_remembered_is_read_and_gets_no_gradient"
      ),
    ),
  ),
  Fault(
    "metrics-resume",
    ("The row of the checkpoint itself is removed from metrics.csv on resuming."),
    "transformer/runs/metrics.py",
    "if row[0] <= step",
    "if row[0] < step",
    ("tests/runs/test_run.py::test_metrics_of_steps_that_are_repeated_are_removed",),
  ),
  Fault(
    "patience",
    "Training stops one evaluation later than `patience`.",
    "transformer/runs/progress.py",
    "self.stale >= config.patience",
    "self.stale > config.patience",
    (
      (
        "tests/runs/test_run.py::"
        "test_training_ends_when_patience_does_and_the_best_stays"
      ),
    ),
  ),
  Fault(
    "progress-spent",
    "What training has taken is that since the last start alone.",
    "transformer/runs/progress.py",
    'Spent(*fields.get("spent", ()))',
    "Spent()",
    ("tests/runs/test_run.py::test_a_row_of_metrics_spans_a_stop",),
  ),
  Fault(
    "sweep-seed",
    "Trials of a sweep are trained with a seed of the study.",
    "transformer/studies/ablate.py",
    "config = self.study.sweep.shorten(config)",
    "config = replace(self.study.sweep.shorten(config), seed=self.study.seeds[0])",
    ("tests/studies/test_sweep.py::test_every_row_is_trained_at_its_best_trial",),
  ),
  Fault(
    "budget-digest",
    "Rows with other batches are taken to need as many updates.",
    "transformer/studies/budget.py",
    "json.dumps([self.spends, parts]",
    "json.dumps([self.spends]",
    ("tests/studies/test_sweep.py::test_budgets_become_updates",),
  ),
  Fault(
    "curve-spikes",
    "Thinned curves lose their peaks.",
    "transformer/studies/curves.py",
    "kept |= {min(finite)[1], max(finite)[1]}",
    "kept |= {min(finite)[1]}",
    ("tests/studies/test_run_report.py::test_thinning_keeps_spikes_gaps_and_ends",),
  ),
  Fault(
    "progress-window",
    "The window of metrics.csv is lost on resuming.",
    "transformer/runs/progress.py",
    '"window": tuple(fields["window"])',
    '"window": (0.0, 0.0)',
    ("tests/runs/test_run.py::test_a_row_of_metrics_spans_a_stop",),
  ),
  Fault(
    "warm-start-ema",
    "The moving average of a warm start begins at fresh parameters.",
    "transformer/runs/warm_start.py",
    "ema = None if state.ema is None else jax.tree.map(jnp.copy, params)",
    "ema = state.ema",
    ("tests/runs/test_warm_start.py::test_a_moving_average_starts_there_too",),
  ),
  Fault(
    "frozen-check",
    "A frozen prefix that names no parameter is accepted.",
    "transformer/runs/warm_start.py",
    "if not any(begins_with(tuple",
    "if any(begins_with(tuple",
    ("tests/runs/test_warm_start.py::test_bad_settings_leave_nothing_behind",),
  ),
  Fault(
    "match-best",
    "Sizes are matched to the farther neighbour.",
    "transformer/studies/rows.py",
    "best = min((low, high)",
    "best = max((low, high)",
    ("tests/studies/test_rows.py::test_matched_rows_cost_what_the_base_costs",),
  ),
  Fault(
    "bootstrap-sides",
    "The two systems of a comparison are exchanged.",
    "transformer/studies/significance.py",
    '[("a", list(a)), ("b", list(b))]',
    '[("a", list(b)), ("b", list(a))]',
    ("tests/cli/test_compare.py::test_a_large_difference_is_no_chance_and_none_is",),
  ),
  Fault(
    "mask-random",
    "Almost no selected token becomes a random one.",
    "transformer/tasks/masked_language_modelling.py",
    "below(how_bt, MASKED + RANDOM)",
    "below(how_bt, RANDOM)",
    (
      (
        "tests/tasks/test_masked_language_modelling.py::"
        "test_masks_follow_the_paper_and_the_key_alone"
      ),
    ),
  ),
  Fault(
    "unigram-smoothing",
    "The unigram baseline is not smoothed.",
    "transformer/tasks/masked_language_modelling.py",
    "  count_v += 1\n",
    "",
    (
      (
        "tests/tasks/test_masked_language_modelling.py::"
        "test_the_unigram_baseline_is_counted_by_hand"
      ),
    ),
  ),
  Fault(
    "keep-worst",
    "The worst checkpoints are kept and not the best.",
    "transformer/training/keep.py",
    "(-rank, step) for step, rank",
    "(rank, step) for step, rank",
    ("tests/training/test_checkpoint.py::test_what_stays",),
  ),
  Fault(
    "keep-latest",
    "One checkpoint more than `latest` is kept.",
    "transformer/training/keep.py",
    "steps[-self.latest :]",
    "steps[-self.latest - 1 :]",
    ("tests/training/test_checkpoint.py::test_what_stays",),
  ),
  Fault(
    "smoothing-target",
    "Label smoothing does not scale the logit of the target.",
    "transformer/training/losses.py",
    "(1.0 - smoothing) * target_logit_bt",
    "target_logit_bt",
    ("tests/training/test_training.py::test_loss_is_the_oracles",),
  ),
  Fault(
    "mesh-rest",
    "The mesh axis that takes the rest takes one.",
    "transformer/training/mesh.py",
    "sizes = [count // known if size == -1 else size for size in sizes]",
    "sizes = [1 if size == -1 else size for size in sizes]",
    ("tests/training/test_training.py::test_one_size_takes_what_is_left",),
  ),
  Fault(
    "muon-epsilon-decay-order",
    "Weight decay is added before the rule and not after it.",
    "transformer/training/optimizers.py",
    (
      "parts.append(rule)\n  if decay:\n    "
      "parts.append(optax.add_decayed_weights(decay))"
    ),
    (
      "if decay:\n    parts.append(optax.add_decayed_weights(decay))\n  "
      "parts.append(rule)"
    ),
    (
      (
        "tests/training/test_optimizers.py::"
        "test_rules_are_their_papers_for_every_layer_and_all_its_heads"
      ),
    ),
  ),
  Fault(
    "schedule-warmup",
    "Linear warm-up starts one update late.",
    "transformer/training/schedules.py",
    "return jnp.asarray(step, jnp.float32) / max(warmup, 1)",
    "return (jnp.asarray(step, jnp.float32) - 1) / max(warmup, 1)",
    ("tests/training/test_optimizers.py::test_schedules_are_their_papers",),
  ),
  Fault(
    "noam-power",
    "Noam warm-up has the wrong power of the warm-up length.",
    "transformer/training/schedules.py",
    "self.warmup**-1.5",
    "self.warmup**-1.0",
    ("tests/training/test_training.py::test_noam_is_the_papers",),
  ),
  Fault(
    "accumulate-key",
    "Every part of an accumulated batch draws the same dropout.",
    "transformer/training/step.py",
    "jax.random.fold_in(key, number)",
    "key",
    (
      (
        "tests/training/test_step.py::"
        "test_with_dropout_it_is_the_sum_over_parts_with_keys_of_their_own"
      ),
    ),
  ),
  Fault(
    "step-key",
    "Every step draws the same dropout.",
    "transformer/training/step.py",
    "key = jax.random.fold_in(seed_key, state.step)",
    "key = seed_key",
    (
      (
        "tests/training/test_training.py::"
        "test_each_step_draws_its_own_numbers_and_draws_them_again"
      ),
    ),
  ),
  Fault(
    "skip-gradient",
    "An infinite gradient of a finite loss is applied.",
    "transformer/training/step.py",
    "jnp.isfinite(sums.total) & jnp.isfinite(norm)",
    "jnp.isfinite(sums.total)",
    (
      (
        "tests/training/test_training.py::"
        "test_a_finite_loss_with_an_infinite_gradient_is_skipped_too"
      ),
    ),
  ),
  Fault(
    "ema-decay",
    "The warm-up of the moving average is off by one.",
    "transformer/training/step.py",
    "(1.0 + number) / (10.0 + number)",
    "(2.0 + number) / (10.0 + number)",
    ("tests/training/test_training.py::test_the_moving_average_follows_its_formula",),
  ),
)


def plant(root: Path, fault: Fault) -> str:
  """Changes the copy of the package in `root`, and returns the original text.

  Raises:
    ValueError: the text to replace does not occur exactly once.
  """
  path = root / fault.file
  original = path.read_text(encoding="utf-8")
  count = original.count(fault.before)
  if count != 1:
    raise ValueError(
      f"{fault.name}: expected {fault.before!r} once in {fault.file}, got {count}"
    )
  path.write_text(original.replace(fault.before, fault.after), encoding="utf-8")
  return original


def is_found(root: Path, fault: Fault) -> bool:
  """Whether a test fails in the changed copy in `root`; other errors of pytest, such as
  a test that does not exist, do not count."""
  command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
  # Bytecode is looked up by time and size, and a planted fault may change neither.
  environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
  done = subprocess.run(
    [*command, "-m", "not slow", *fault.tests],
    cwd=root, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
  )  # fmt: skip
  return done.returncode == 1


def main(argv: list[str] | None = None) -> int:
  """Plants the named faults, or all; the exit status."""
  parser = argparse.ArgumentParser("planted_faults", description=__doc__)
  parser.add_argument("names", metavar="NAME", nargs="*", help="faults (default: all)")
  names = parser.parse_args(argv).names
  unknown = sorted({*names} - {fault.name for fault in FAULTS})
  if unknown:
    parser.error(f"no such fault: {', '.join(unknown)}")
  missed = 0
  with tempfile.TemporaryDirectory() as directory:
    root = Path(directory)
    for name in COPIED:
      if (ROOT / name).is_dir():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
      else:
        shutil.copy(ROOT / name, root / name)
    for fault in FAULTS:
      if names and fault.name not in names:
        continue
      started = time.monotonic()
      original = plant(root, fault)
      found = is_found(root, fault)
      (root / fault.file).write_text(original, encoding="utf-8")
      missed += not found
      verdict = "found" if found else "NOT FOUND"
      seconds = time.monotonic() - started
      print(f"{verdict:<9} {seconds:6.1f} s  {fault.name}: {fault.what}", flush=True)
  return int(missed > 0)


if __name__ == "__main__":
  sys.exit(main())
