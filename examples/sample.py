"""Generate meshes: `python examples/sample.py MODEL FOLDER`; MODEL is a folder, or owner/name on the Hub."""

import sys
from pathlib import Path

import weightgpt as wg

model, folder = wg.WeightGPT.from_pretrained(sys.argv[1]), Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
for index, shape in enumerate(model.generate(n=8, seed=0)):
    try:
        shape.to_mesh(resolution=64).export(folder / f"{index}-{shape.label}.glb")
    except wg.InputError as error:  # the field has no surface
        print(error)
    print(index, shape.label)
