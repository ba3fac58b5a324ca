"""Makes the fixtures of GPT-2 with the Hugging Face classes.

Needs a Python with PyTorch and transformers: `python make_fixtures_gpt2.py`. Writes
`fixtures/gpt2/`: a small model as `save_pretrained` writes it, and
`expected.safetensors` with inputs, the logits that the class computes from them, and
the tokens with which its greedy search continues prompts.
"""

import shutil

import torch
import transformers
from make_fixtures import FIXTURES, padded, randomise
from safetensors.torch import save_file

EOS = 40
SIZES = dict(
  vocab_size=41, n_embd=24, n_layer=2, n_head=3, n_inner=28, n_positions=26,
  bos_token_id=EOS, eos_token_id=EOS,
)  # fmt: skip
NEW = 9


def train(model, steps: int = 250):
  """A model that has begun to learn texts in which every token is one more than the
  token three before it."""
  optimizer = torch.optim.Adam(model.parameters(), 5e-3)
  generator = torch.Generator().manual_seed(0)
  for _ in range(steps):
    first_b3 = torch.randint(EOS, (16, 3), generator=generator)
    steps_t = torch.arange(5).repeat_interleave(3)
    id_bt = (first_b3.repeat(1, 5) + steps_t) % EOS
    end_b1 = torch.full((16, 1), EOS)
    loss = model(id_bt := torch.cat([end_b1, id_bt, end_b1], 1), labels=id_bt).loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
  return model.eval()


def write() -> None:
  """A model, what it computes and how it continues prompts."""
  model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**SIZES))
  train(randomise(model, seed=3))
  id_bt, mask_bt = padded((11, 3, 6), range(EOS), EOS, None, seed=5)
  id_bt[:, 0] = EOS
  with torch.no_grad():
    logits_btv = model(id_bt, attention_mask=mask_bt).logits
  tensors = {"input_ids": id_bt, "mask": mask_bt, "logits": logits_btv}
  generator = torch.Generator().manual_seed(6)
  for length in (1, 4, 7):
    prompt_1t = torch.randint(EOS, (1, length), generator=generator)
    tensors[f"prompt_{length}"] = prompt_1t[0]
    found_1t = model.generate(
      prompt_1t, attention_mask=torch.ones_like(prompt_1t), do_sample=False,
      max_new_tokens=NEW, pad_token_id=EOS,
    )  # fmt: skip
    tensors[f"greedy_{length}"] = found_1t[0, length:]
    print(prompt_1t.tolist(), found_1t[0, length:].tolist())
  path = FIXTURES / "gpt2"
  shutil.rmtree(path, ignore_errors=True)
  model.save_pretrained(path)
  save_file({k: v.contiguous() for k, v in tensors.items()},
            path / "expected.safetensors")  # fmt: skip


if __name__ == "__main__":
  torch.set_num_threads(1)
  write()
