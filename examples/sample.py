"""Draw new shapes from a bundle, as meshes: `python examples/sample.py MODEL FOLDER`.

MODEL is the folder of a bundle, or owner/name on the Hub.
"""

import sys
from pathlib import Path

from weightgpt import mesh_sdf
from weightgpt.model import load_bundle
from weightgpt.visual.meshing import save_mesh

model, folder = sys.argv[1:]
generated = load_bundle(model).sample(n=8, seed=0)  # temperature and top_p as the model has them
for index, label in enumerate(generated.labels):
    field = generated.fields[index]
    made = mesh_sdf(lambda points, field=field: field(points)[:, 0], resolution=64)
    if made.mesh is not None:
        save_mesh(made.mesh, Path(folder) / f"{index}-{label}.glb")
    print(index, label, made.outcome)
