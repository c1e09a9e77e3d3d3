"""Fine-tune a bundle on your own meshes: `python examples/finetune.py MODEL MESHES OUTPUT [STEPS]`.

MODEL is the folder of a bundle, or owner/name on the Hub. MESHES is a folder with a sub-folder for each class; classes
the bundle does not know become "none". The codebook stays as it is, only the GPT-2 learns. OUTPUT is a new bundle.
"""

import sys

from transformers import Trainer, TrainingArguments

from weightgpt import load_shapes
from weightgpt.model import Bundle, load_bundle

model, meshes, output = sys.argv[1:4]
steps = int(sys.argv[4]) if len(sys.argv) > 4 else 200

bundle = load_bundle(model)
shapes = load_shapes(meshes)
for refusal in shapes.refused:
    print("left out:", refusal.reason)
ids = bundle.tokenizer.encode_shapes(list(shapes), progress=True)["input_ids"]

# BOS and the class are given when sampling, so there is nothing to learn about them: -100 takes them out of the loss.
labels = ids.clone()
labels[:, :2] = -100
rows = [{"input_ids": sequence, "labels": wanted} for sequence, wanted in zip(ids, labels, strict=True)]

arguments = TrainingArguments(
    output_dir=f"{output}/checkpoints",
    max_steps=steps,
    per_device_train_batch_size=16,
    learning_rate=1e-4,
    lr_scheduler_type="cosine",
    warmup_steps=0.1,
    save_strategy="no",
    logging_steps=20,
    report_to="none",
)
trainer = Trainer(bundle.model, arguments, train_dataset=rows)
trainer.train()

Bundle(bundle.model.cpu().eval(), bundle.tokenizer).save_pretrained(output)
print("wrote", output)
