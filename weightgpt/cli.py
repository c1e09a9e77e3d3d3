"""The command line: meshes to fields, fields to tokens, tokens to fields, and new shapes from a model.

Decisions:
- Results go to stdout, as lines or with `--json` as one JSON object and nothing else; all the rest goes to stderr.
- A caller's mistake is one sentence and exit code 2, Ctrl-C one line and 130; a bug keeps its traceback. Only
  `evaluate --max-memorized` ends with 1: its work was done, and the samples failed.
- Folders are written whole, and only where there is none with content: nothing of the user's is lost or mixed up.
- Heavy imports happen in the commands, so that help is quick.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from weightgpt import cli_io as console

app = typer.Typer(
    help="Shapes as neural fields, fields as tokens, and a GPT-2 that writes new ones.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)

Bundle = Annotated[str, typer.Argument(metavar="MODEL", help="a bundle: its folder, or owner/name on the Hub")]
Model = Annotated[str, typer.Option("--model", "-m", help="a bundle: its folder, or owner/name on the Hub")]
FieldsFile = Annotated[Path, typer.Argument(help="a .safetensors file of fields")]
Output = Annotated[Path, typer.Option("--output", "-o", help="what to write")]
Resolution = Annotated[int, typer.Option(min=8, max=512, help="grid points along each axis")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="equal seeds and settings give equal results")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object instead of lines")]


@app.command()
def fit(
    inputs: Annotated[list[str], typer.Argument(help="mesh files, or folders with a sub-folder for each class")],
    output: Output,
    hidden: Annotated[str | None, typer.Option(help="widths of the hidden layers; 32,32,32 when left out")] = None,
    steps: Annotated[int, typer.Option(min=1, help="optimizer steps for each field")] = 600,
    shared_init: Annotated[
        str | None,
        typer.Option("--initial", "--model", "-m", help="start from a bundle's shared field, or a fields file's first"),
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Fit a neural field to each mesh.

    They go to one .safetensors file, with the way back to the units of the meshes.

    Example: weightgpt fit chairs/ -o chairs.safetensors --model runs/demo/model
    """
    from weightgpt.fields.fitting import FitConfig, fit_shapes
    from weightgpt.fields.storage import ShapeMetadata, save_fields

    console.check_target(output, ".safetensors")
    options = FitConfig(steps=steps, seed=seed)
    config, start = console.initial_field(hidden, shared_init)
    shapes = console.shapes(inputs)
    fits = fit_shapes(shapes, config, options, shared_init=start, progress=console.show_progress())
    save_fields(output, fits.fields, ShapeMetadata.of_shapes(shapes))
    values = {"fields": len(shapes), "parameters": config.parameters, "loss": round(float(fits.loss.mean()), 5)}
    console.report({"output": str(output), **values}, as_json)


@app.command()
def encode(
    inputs: Annotated[
        list[str], typer.Argument(help="mesh files, folders of them, or one .safetensors file of fields")
    ],
    model: Model,
    output: Output,
    steps: Annotated[int, typer.Option(min=0, help="steps of refinement; 0 is fastest")] = 100,
    as_json: Json = False,
) -> None:
    """Write shapes or fields as tokens.

    They go to a .json file; "iou" tells how much of the volume the tokens keep, 1 for all.

    Example: weightgpt encode chair.glb -m runs/demo/model -o chair.json
    """
    import torch

    from weightgpt.fields.storage import ShapeMetadata, load_fields
    from weightgpt.metrics.pairwise import iou
    from weightgpt.quantizers.base import EncodeConfig
    from weightgpt.shapes.sampling import uniform_points
    from weightgpt.tokens.storage import Tokens, save_tokens
    from weightgpt.tokens.vocabulary import NONE, class_name

    console.check_target(output, ".json")
    tokenizer = console.bundle(model).tokenizer
    vocabulary, options = tokenizer.vocabulary, EncodeConfig(steps=steps)
    points = uniform_points(8192, tokenizer.quantizer.field_config.in_features, 0)
    if len(inputs) == 1 and inputs[0].endswith(".safetensors"):
        fields, metadata = load_fields(inputs[0])
        labels = [label if class_name(label) in vocabulary.classes else NONE for label in metadata.labels]
        ids = tokenizer.encode(fields, labels, options)["input_ids"]
        truth = fields(points)[..., 0]
    else:
        shapes = console.shapes(inputs)
        metadata = ShapeMetadata.of_shapes(shapes)
        ids = tokenizer.encode_shapes(shapes, options, progress=console.show_progress())["input_ids"]
        truth = torch.stack([shape.sdf(points) for shape in shapes])
    save_tokens(output, Tokens(ids, tokenizer.quantizer.fingerprint, metadata))
    kept = round(float(iou(tokenizer.decode(ids)(points)[..., 0], truth).mean()), 4)
    console.report({"output": str(output), "shapes": len(ids), "tokens": vocabulary.length, "iou": kept}, as_json)


@app.command()
def decode(
    tokens: Annotated[Path, typer.Argument(help="a .json file that `encode` or `sample` wrote")],
    model: Model,
    output: Output,
    num_quantizers: Annotated[
        int | None, typer.Option(min=1, help="take the first levels only: coarser shapes")
    ] = None,
    as_json: Json = False,
) -> None:
    """Turn tokens back into fields.

    They go to one .safetensors file.

    Example: weightgpt decode chair.json -m runs/demo/model -o chair.safetensors
    """
    from weightgpt.errors import InputError
    from weightgpt.fields.storage import save_fields
    from weightgpt.tokens.storage import load_tokens

    console.check_target(output, ".safetensors")
    loaded = load_tokens(tokens)
    tokenizer = console.bundle(model).tokenizer
    held, most = tokenizer.quantizer.fingerprint, tokenizer.quantizer.num_quantizers
    if loaded.fingerprint != held:
        raise InputError(f"{tokens} was written with codebook {loaded.fingerprint}, {model} holds {held}; use its own.")
    if num_quantizers is not None and num_quantizers > most:
        raise InputError(f"num_quantizers is {num_quantizers}; give 1 to {most}, or leave it out for all.")
    fields = tokenizer.decode(loaded.ids, num_quantizers)
    save_fields(output, fields, loaded.metadata)
    values = {"fields": len(fields), "parameters": fields.config.parameters}
    console.report({"output": str(output), **values}, as_json)


@app.command()
def sample(
    model: Bundle,
    output: Output,
    n: Annotated[int, typer.Option("-n", min=1, help="how many")] = 16,
    label: Annotated[str | None, typer.Option(help="a class; all of them in turn when left out")] = None,
    seed: Seed = 0,
    temperature: Annotated[float | None, typer.Option(help="lower is safer, higher wilder; or the model's own")] = None,
    top_p: Annotated[float | None, typer.Option(help="share of probability drawn from; or the model's own")] = None,
    resolution: Resolution = 96,
    as_json: Json = False,
) -> None:
    """Draw new shapes from a model.

    They go to a new folder: .glb meshes, fields.safetensors, ids.json and the picture samples.png.

    Example: weightgpt sample runs/demo/model -n 16 --label chair -o new-chairs
    """
    from weightgpt.fields.storage import ShapeMetadata, save_fields
    from weightgpt.io import atomic_write
    from weightgpt.tokens.storage import Tokens, save_tokens

    console.check_folder(output)
    bundle = console.bundle(model)
    made = bundle.sample(n, label, seed, temperature, top_p, progress=console.show_progress())
    solid = made.fields.config.in_features == 3
    names = [f"{index:04d}-{name}" for index, name in enumerate(made.labels)]
    metadata = ShapeMetadata.plain(names, made.labels, made.fields.config.in_features)
    with atomic_write(output) as draft:
        save_fields(draft / "fields.safetensors", made.fields, metadata)
        save_tokens(draft / "ids.json", Tokens(made.ids, bundle.tokenizer.quantizer.fingerprint, metadata))
        console.draw(draft / "samples.png", made.fields, names, 160)
        outcomes = console.write_meshes(draft, made.fields, metadata, resolution, ".glb") if solid else {}
    values = {"samples": n, "decode_rate": len(made.fields) / n, **outcomes}
    console.report({"output": str(output), **values}, as_json)


@app.command()
def mesh(
    fields: FieldsFile,
    output: Output,
    resolution: Resolution = 96,
    kind: Annotated[str, typer.Option("--format", help="glb, ply, obj or stl")] = "glb",
    as_json: Json = False,
) -> None:
    """Mesh every field of a file.

    The meshes go to a new folder, each in the units of the mesh that its field was fitted to.

    Example: weightgpt mesh chairs.safetensors -o chairs-again --resolution 128
    """
    from weightgpt.errors import InputError
    from weightgpt.fields.storage import load_fields
    from weightgpt.io import atomic_write
    from weightgpt.visual.meshing import FORMATS

    console.check_folder(output)
    if f".{kind}" not in FORMATS:
        raise InputError(f"format is {kind!r}; choose one of {', '.join(name[1:] for name in FORMATS)}.")
    loaded, metadata = load_fields(fields)
    if (loaded.config.in_features, loaded.config.out_features) != (3, 1):
        raise InputError(f"{fields} holds no solids but {loaded.config}; draw its fields with `weightgpt render`.")
    with atomic_write(output) as draft:
        draft.mkdir()
        outcomes = console.write_meshes(draft, loaded, metadata, resolution, f".{kind}")
    console.report({"output": str(output), "fields": len(loaded), **outcomes}, as_json)


@app.command()
def render(
    fields: FieldsFile,
    output: Output,
    size: Annotated[int, typer.Option(min=16, max=1024, help="pixels along each side of a picture")] = 160,
    as_json: Json = False,
) -> None:
    """Draw every field of a file on one sheet.

    Example: weightgpt render chairs.safetensors -o chairs.png
    """
    from weightgpt.fields.storage import load_fields

    console.check_target(output, ".png")
    loaded, metadata = load_fields(fields)
    console.draw(output, loaded, list(metadata.names), size)
    console.report({"output": str(output), "fields": len(loaded)}, as_json)


@app.command()
def evaluate(
    generated: Annotated[str, typer.Argument(help="new shapes: a folder of meshes or a .safetensors file of fields")],
    train: Annotated[str, typer.Option(help="those that the model learned from, in the same form")],
    held_out: Annotated[str, typer.Option(help="those of the same kind that it never saw, in the same form")],
    count: Annotated[int | None, typer.Option(min=2, help="shapes of each set; all when left out")] = None,
    max_memorized: Annotated[float | None, typer.Option(min=0, max=1, help="exit with 1 above this share")] = None,
    points: Annotated[int, typer.Option(min=16, help="points on each surface")] = 512,
    emd: Annotated[int, typer.Option(min=0, help="shapes to compare by earth mover's distance as well; slow")] = 0,
    resolution: Resolution = 64,
    seed: Seed = 0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="a .json file of the figures")] = None,
    picture: Annotated[Path | None, typer.Option(help="a .png: samples beside their nearest training shapes")] = None,
    as_json: Json = False,
) -> None:
    """Judge new shapes beside held-out ones, and whether they were only remembered.

    Meshes are centered and scaled to a longest side of 1.8; fields are taken as they are.

    Example: weightgpt evaluate new.safetensors --train train.safetensors --held-out test.safetensors -o figures.json
    """
    for path, suffix in ((output, ".json"), (picture, ".png")):
        if path is not None:
            console.check_target(path, suffix)
    options = {"count": count, "points": points, "emd": emd, "resolution": resolution, "seed": seed}
    report = console.evaluate((generated, train, held_out), options, output, picture, as_json)
    if max_memorized is not None and (objection := report.memorization_objection(max_memorized)):
        console.warn(objection)
        raise typer.Exit(1)


@app.command()
def info(
    path: Annotated[str, typer.Argument(help="a bundle, a file of fields or of tokens, or a mesh")],
    as_json: Json = False,
) -> None:
    """Say what a bundle, a file or a mesh is.

    Example: weightgpt info runs/demo/model
    """
    console.report(console.description(path), as_json)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line on `arguments`, those of the process when None, and leave with its exit code."""
    try:
        code = app(arguments, standalone_mode=False)
    except Exception as error:
        from weightgpt.errors import InputError

        usage = getattr(error, "format_message", None)  # of Typer's own errors: an unknown option, a missing argument
        if usage is None and not isinstance(error, InputError):
            raise
        print(usage() if usage else " ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)
    if code == 130:
        print("interrupted; nothing half-written is left behind.", file=sys.stderr)
    sys.exit(code)
