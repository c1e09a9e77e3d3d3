"""Fine-tune a model on your own meshes: `python examples/finetune.py MODEL MESHES OUTPUT [STEPS]`.

MODEL is the folder of a model, or owner/name on the Hub. MESHES is a folder with a sub-folder for each class; a class
that the model does not have becomes "none". Only the GPT-2 learns, the codebook stays as it is. OUTPUT is a new model.
"""

import sys

from transformers import Trainer, TrainingArguments

import weightgpt as wg

source, meshes, output = sys.argv[1:4]
model, shapes = wg.WeightGPT.from_pretrained(source), wg.load_shapes(meshes)
for refusal in shapes.refused:
    print("left out:", refusal.reason)
dataset = model.tokenizer.to_dataset(model.tokenizer(shapes, progress=True))

arguments = TrainingArguments(
    output_dir=f"{output}/checkpoints",
    max_steps=int(sys.argv[4]) if len(sys.argv) > 4 else 200,
    per_device_train_batch_size=16,
    learning_rate=1e-4,
    lr_scheduler_type="cosine",
    warmup_steps=0.1,
    save_strategy="no",
    logging_steps=20,
    report_to="none",
)
Trainer(model.gpt, arguments, train_dataset=dataset, data_collator=wg.WeightDataCollator()).train()

model.save_pretrained(output)
print("wrote", output)
