"""Faults of data, settings, tasks, runs and what uses runs."""

from tests.planted_faults.fault import Fault

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
    "metrics-resume",
    ("The row of the checkpoint itself is removed from metrics.csv on resuming."),
    "transformer/runs/metrics.py",
    "if row[0] <= step",
    "if row[0] < step",
    (
      "tests/runs/test_progress.py::test_metrics_of_steps_that_are_repeated_are_removed",
    ),
  ),
  Fault(
    "patience",
    "Training stops one evaluation later than `patience`.",
    "transformer/runs/progress.py",
    "self.stale >= config.patience",
    "self.stale > config.patience",
    (
      (
        "tests/runs/test_progress.py::"
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
    ("tests/runs/test_progress.py::test_a_row_of_metrics_spans_a_stop",),
  ),
  Fault(
    "sweep-seed",
    "Trials of a sweep are trained with a seed of the study.",
    "transformer/studies/ablate.py",
    "(shorten(config), folder",
    "(replace(shorten(config), seed=self.study.seeds[0]), folder",
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
    ("tests/runs/test_progress.py::test_a_row_of_metrics_spans_a_stop",),
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
)
