"""What other toolkits (fairseq, Hugging Face, PyTorch, T5X, OpenNMT) call settings."""

SYNONYMS: dict[str, tuple[str, ...]] = {}
"""Lower-case names without `-` and `_`, each with the dotted paths that it may mean."""

for path, names in {
  "accumulate": "gradient_accumulation_steps accum_steps update_freq grad_accum "
  "gradient_accumulation accum_count",
  "batching.length": "max_length max_len max_seq_length sequence_length seq_len "
  "max_source_positions block_size context_length",
  "batching.tokens": "batch_size bs max_tokens train_batch_size global_batch_size "
  "per_device_train_batch_size tokens_per_batch num_tokens",
  "eval_every": "eval_steps eval_interval validate_interval eval_freq valid_steps",
  "init": "from_pretrained restore_file finetune_from_model init_from "
  "initial_checkpoint resume_from",
  "keep.latest": "save_total_limit keep_last_epochs keep_checkpoints keep_checkpoint",
  "log_every": "log_interval logging_steps log_steps report_every",
  "mesh": "devices num_devices gpus num_gpus",
  "model.attention_dropout": "attention_probs_dropout_prob attn_dropout "
  "dropout_attn attention_probs_dropout",
  "model.d_ff": "ffn_dim intermediate_size feed_forward_size dim_feedforward "
  "encoder_ffn_embed_dim mlp_dim ff_size hidden_ff transformer_ff",
  "model.d_k": "head_dim d_head qkv_dim key_dim kv_channels",
  "model.d_model": "hidden_size hidden_dim embed_dim model_dim n_embd emb_dim "
  "embedding_size encoder_embed_dim width dim rnn_size",
  "model.dropout": "dropout_rate hidden_dropout_prob hidden_dropout p_dropout "
  "drop_rate",
  "model.heads": "num_heads n_heads n_head nhead num_attention_heads attention_heads "
  "encoder_attention_heads",
  "model.layers": "num_layers n_layers n_layer num_hidden_layers encoder_layers "
  "decoder_layers num_encoder_layers num_decoder_layers depth enc_layers",
  "model.position": "position_embedding_type positional_encoding pos_encoding "
  "position_encoding pos_emb positional_embedding",
  "model.feed_forward": "activation activation_fn hidden_act mlp",
  "model.remat": "gradient_checkpointing activation_checkpointing remat_policy",
  "model.residual": "pre_norm norm_first normalize_before encoder_normalize_before",
  "model.tying": "tie_word_embeddings share_embeddings share_all_embeddings "
  "tied_embeddings logits_via_embedding",
  "optimizer.beta1": "adam_beta1 adam_betas betas b1",
  "optimizer.beta2": "adam_beta2 b2",
  "optimizer.clip": "clip_norm max_grad_norm grad_clip clip_grad_norm "
  "gradient_clip_val gradient_clip clip_gradients",
  "optimizer.decay": "weight_decay wd l2",
  "optimizer.epsilon": "adam_epsilon adam_eps eps",
  "patience": "early_stopping early_stopping_patience",
  "precision": "fp16 bf16 dtype mixed_precision amp half_precision",
  "save_every": "save_steps save_interval checkpoint_every save_freq "
  "checkpoint_interval save_checkpoint_steps",
  "schedule": "lr_scheduler lr_scheduler_type scheduler lr_schedule",
  "schedule.rate": "learning_rate lr base_lr base_learning_rate peak_lr max_lr "
  "init_lr step_size",
  "schedule.warmup": "warmup_steps warmup_updates num_warmup_steps warmup_iters "
  "lr_warmup warm_up warmup_ratio",
  "seed": "random_seed manual_seed prng_seed",
  "steps": "max_steps max_update num_steps num_train_steps train_steps total_steps "
  "epochs epoch num_epochs max_epochs max_epoch num_train_epochs max_iters iterations",
  "task.context": "context_length block_size context_size",
  "task.search.beam": "beam beam_size num_beams",
  "task.smoothing": "label_smoothing label_smoothing_factor label_smoothing_eps",
  "task.tokenize": "sacrebleu_tokenize bleu_tokenize sacrebleu_tokenizer",
  "tokenizer.vocabulary": "vocab_size vocab n_vocab bpe_size src_vocab_size",
}.items():
  for name in names.split():
    key = name.replace("_", "")
    SYNONYMS[key] = (*SYNONYMS.get(key, ()), path)


def synonyms(name: str) -> tuple[str, ...]:
  """The dotted paths of the settings that another toolkit's name may mean."""
  return SYNONYMS.get(name.lower().replace("-", "").replace("_", ""), ())
