"""Faults of layers, models, training, decoding and inference."""

from tests.planted_faults.fault import Fault

FAULTS = (
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
