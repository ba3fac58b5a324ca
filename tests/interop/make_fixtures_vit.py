"""Makes the fixtures of ViT and DeiT with the Hugging Face classes.

Needs a Python with PyTorch and transformers: `python make_fixtures_vit.py`. Writes
`fixtures/NAME/`: a small random model and its image processor as `save_pretrained`
writes them, and `expected.safetensors` with images of several shapes, what the
processor makes of them, and the logits that the class computes from that.
"""

import shutil

import torch
import transformers
from make_fixtures import FIXTURES, randomise
from safetensors.torch import save_file
from transformers.models.deit.image_processing_pil_deit import DeiTImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

NAMES = ("house", "crane", "Katze, Kater", "crane", "boat")
SIZES = dict(
  hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=28,
  image_size=20, patch_size=5,
  id2label=dict(enumerate(NAMES)), label2id={name: i for i, name in enumerate(NAMES)},
)  # fmt: skip
SHAPES = ((31, 23), (20, 20), (18, 41))


def write(name: str, kind: str, config, processor) -> None:
  """A model, its processor and what they compute."""
  model = randomise(getattr(transformers, kind)(config), seed=len(name)).eval()
  generator = torch.Generator().manual_seed(4)
  tensors = {}
  for i, shape in enumerate(SHAPES):
    image_yxc = torch.randint(256, (*shape, 3), generator=generator, dtype=torch.uint8)
    pixels_bcyx = processor(image_yxc.numpy(), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
      logits_bv = model(pixels_bcyx).logits
    found = {"image": image_yxc, "pixels": pixels_bcyx[0], "logits": logits_bv[0]}
    tensors |= {f"{key}_{i}": value for key, value in found.items()}
    print(name, logits_bv)
  path = FIXTURES / name
  shutil.rmtree(path, ignore_errors=True)
  model.save_pretrained(path)
  processor.save_pretrained(path)
  save_file({k: v.contiguous() for k, v in tensors.items()},
            path / "expected.safetensors")  # fmt: skip


if __name__ == "__main__":
  torch.set_num_threads(1)
  side = {"height": 20, "width": 20}
  vit = ViTImageProcessorPil(size=side)
  write("vit", "ViTForImageClassification", transformers.ViTConfig(**SIZES), vit)
  larger = {"height": 26, "width": 26}
  deit = DeiTImageProcessorPil(
    size=larger, crop_size=side, image_mean=[0.485, 0.456, 0.406],
    image_std=[0.229, 0.224, 0.225],
  )  # fmt: skip
  config = transformers.DeiTConfig(**SIZES)
  write("deit", "DeiTForImageClassification", config, deit)
  write("deit_teacher", "DeiTForImageClassificationWithTeacher", config, deit)
