"""The command line: meshes to fields, fields to tokens, tokens to fields, and new shapes from a model.

Decisions:

- Results go to stdout, as lines or with `--json` as one JSON object and nothing else. Everything else goes to stderr.
- A caller's mistake is one sentence and exit code 2, Ctrl-C is one line and 130, SIGTERM is one line and 143, and a bug
  keeps its traceback. `fit` and `encode` also end with 2 if they refused a file that is named on the command line; the
  others are done. Only `evaluate --max-memorized` ends with 1: the evaluation was done, and the samples failed the
  memorization check.
- A folder is written as a whole. A folder that already has content is refused, so that no file of the user is lost.
- Commands import torch and trimesh inside their functions, so that `--help` is quick.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from weightgpt import cli_inputs, cli_io
from weightgpt.errors import InputError, sigterm_as_interrupt

app = typer.Typer(
    help="Shapes as neural fields, fields as tokens, and a GPT-2 that writes new ones.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)

MAX_STEPS = 1_000_000
MAX_SAMPLES = 1_000_000
"""Samples of one call."""
MODEL_HELP = "a model: its folder, or owner/name on the Hub"
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)]
ModelOption = Annotated[str, typer.Option("--model", "-m", help=MODEL_HELP)]
FieldsFile = Annotated[Path, typer.Argument(help="a .safetensors file of fields")]
Output = Annotated[Path, typer.Option("--output", "-o", help="the file or folder to write")]
Resolution = Annotated[int, typer.Option(min=8, max=512, help="grid points along each axis")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="equal seeds and settings give equal results")]
Revision = Annotated[
    str | None, typer.Option(help="branch, tag or commit of a model on the Hub; a commit pins the files")
]
Thickness = Annotated[
    float | None, typer.Option(help="thickness of open surfaces, such as 0.02 of a cube of side 2; dropped by default")
]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object instead of lines")]


@app.command()
def fit(
    inputs: Annotated[list[str], typer.Argument(help="mesh files, or folders with a sub-folder for each class")],
    output: Output,
    hidden: Annotated[str | None, typer.Option(help="widths of the hidden layers; 32,32,32 by default")] = None,
    steps: Annotated[int, typer.Option(min=1, max=MAX_STEPS, help="optimizer steps for each field")] = 600,
    shared_init: Annotated[
        str | None,
        typer.Option(
            help="initial weights: a model, or a .safetensors file whose first field is taken; random by default"
        ),
    ] = None,
    thickness: Thickness = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Fit a neural field to each mesh.

    The fields go to one .safetensors file. It also keeps the position and the size of each mesh.

    Example: weightgpt fit chairs/ -o chairs.safetensors --shared-init runs/demo/model
    """
    from weightgpt.fields.fitting import FitConfig, fit_fields
    from weightgpt.fields.optimization import truncated_loss
    from weightgpt.fields.storage import ShapeMetadata, save_fields
    from weightgpt.shapes.sampling import uniform_points

    cli_io.check_file(output, ".safetensors")
    options = FitConfig(steps=steps, seed=seed)
    config, initial_weights = cli_inputs.field_to_fit(hidden, shared_init)
    meshes = cli_inputs.read_shapes(inputs, thickness)
    shapes = meshes.shapes
    fields = fit_fields(shapes, config, options, shared_init=initial_weights, progress=cli_io.show_progress())
    save_fields(output, fields, ShapeMetadata.of_shapes(shapes))
    points = uniform_points(8192, 3, 0)
    loss = truncated_loss(fields(points)[..., 0], cli_inputs.sdf_values(shapes, points))
    results = {"fields": len(shapes), "parameters": config.parameters, "loss": round(float(loss.mean()), 5)}
    cli_io.print_results({"output": str(output), **results}, as_json, meshes.outcome)
    raise typer.Exit(meshes.exit_code)


@app.command()
def encode(
    inputs: Annotated[
        list[str], typer.Argument(help="mesh files, folders of meshes, or one .safetensors file of fields")
    ],
    model: ModelOption,
    output: Output,
    steps: Annotated[int, typer.Option(min=0, max=MAX_STEPS, help="refinement steps; 0 is the fastest")] = 100,
    thickness: Thickness = None,
    revision: Revision = None,
    as_json: Json = False,
) -> None:
    """Encode shapes or fields as tokens.

    The tokens go to a .json file. The result "iou" compares the volume of the decoded tokens with that of the input;
    1 means equal.

    Example: weightgpt encode chair.glb -m runs/demo/model -o chair.json
    """
    from weightgpt.metrics.pairwise import iou
    from weightgpt.quantizers.base import EncodeConfig
    from weightgpt.shapes.sampling import uniform_points
    from weightgpt.tokens.storage import Tokens, save_tokens

    cli_io.check_file(output, ".json")
    tokenizer = cli_inputs.load_model(model, revision).tokenizer
    meshes, source, metadata = cli_inputs.read_shapes_or_fields(inputs, thickness)
    labels = tokenizer.vocabulary.replace_unknown(metadata.labels)
    batch = tokenizer(source, labels, encode=EncodeConfig(steps=steps), progress=cli_io.show_progress())
    ids = batch["input_ids"]
    save_tokens(output, Tokens(ids, tokenizer.quantizer.fingerprint, metadata))
    points = uniform_points(8192, tokenizer.quantizer.field_config.in_features, 0)
    decoded = tokenizer.batch_decode(ids)(points)[..., 0]
    similarity = round(float(iou(decoded, cli_inputs.sdf_values(source, points)).mean()), 4)
    results = {"shapes": len(ids), "tokens": tokenizer.model_max_length, "iou": similarity}
    cli_io.print_results({"output": str(output), **results}, as_json, meshes.outcome if meshes else {})
    raise typer.Exit(meshes.exit_code if meshes else 0)


@app.command()
def decode(
    tokens: Annotated[Path, typer.Argument(help="a .json file that `encode` or `sample` wrote")],
    model: ModelOption,
    output: Output,
    num_quantizers: Annotated[
        int | None, typer.Option(min=1, help="decode only the first quantizer levels, for coarser shapes")
    ] = None,
    revision: Revision = None,
    as_json: Json = False,
) -> None:
    """Decode tokens to fields.

    The fields go to one .safetensors file.

    Example: weightgpt decode chair.json -m runs/demo/model -o chair.safetensors
    """
    from weightgpt.fields.storage import save_fields
    from weightgpt.tokens.storage import load_tokens

    cli_io.check_file(output, ".safetensors")
    sequences = load_tokens(tokens)
    tokenizer = cli_inputs.load_model(model, revision).tokenizer
    fingerprint = tokenizer.quantizer.fingerprint
    if sequences.fingerprint != fingerprint:
        raise InputError(
            f"{tokens} was written with codebook {sequences.fingerprint}, {model} has {fingerprint}; use the model that"
            " the tokens were written with."
        )
    fields = tokenizer.batch_decode(sequences.ids, num_quantizers)
    save_fields(output, fields, sequences.metadata)
    results = {"fields": len(fields), "parameters": fields.config.parameters}
    cli_io.print_results({"output": str(output), **results}, as_json)


@app.command()
def sample(
    model: ModelArgument,
    output: Output,
    n: Annotated[int, typer.Option("-n", min=1, max=MAX_SAMPLES, help="number of shapes")] = 16,
    label: Annotated[str | None, typer.Option(help="a class; by default all classes take turns")] = None,
    seed: Seed = 0,
    temperature: Annotated[
        float | None, typer.Option(help="lower values prefer likelier codes; the model's own by default")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(help="share of the probability mass to sample from; the model's own by default")
    ] = None,
    meshes: Annotated[int, typer.Option(min=0, help="number of shapes to mesh, the first ones")] = 1000,
    resolution: Resolution = 96,
    revision: Revision = None,
    as_json: Json = False,
) -> None:
    """Generate new shapes with a model.

    They go to a new folder: .glb meshes, fields.safetensors, tokens.json and the picture samples.png. More than 10,240
    shapes go to several files of fields and tokens, which are written one after the other.

    Example: weightgpt sample runs/demo/model -n 16 --label chair -o new-chairs
    """
    from weightgpt.io import atomic_write

    cli_io.check_new_folder(output)
    loaded = cli_inputs.load_model(model, revision)
    batches = loaded.generate_batches(
        n,
        label,
        seed=seed,
        temperature=temperature,
        top_p=top_p,
        batch_size=cli_io.BATCH,
        progress=cli_io.show_progress(),
    )
    fingerprint = loaded.tokenizer.quantizer.fingerprint
    with atomic_write(output) as draft:
        counts = cli_io.write_samples(draft, batches, n, fingerprint, num_meshes=meshes, resolution=resolution)
    results = {"samples": n, "decode_rate": counts.pop("samples") / n, **counts}
    cli_io.print_results({"output": str(output), **results}, as_json)


@app.command()
def mesh(
    fields: FieldsFile,
    output: Output,
    resolution: Resolution = 96,
    file_format: Annotated[str, typer.Option("--format", help="glb, ply, obj or stl")] = "glb",
    as_json: Json = False,
) -> None:
    """Mesh every field of a file.

    The meshes go to a new folder. Each has the position and the size of the mesh that its field was fitted to.

    Example: weightgpt mesh chairs.safetensors -o chairs-again --resolution 128
    """
    from weightgpt.fields.storage import load_fields
    from weightgpt.io import atomic_write
    from weightgpt.visual.meshing import FORMATS

    cli_io.check_new_folder(output)
    if f".{file_format}" not in FORMATS:
        allowed = ", ".join(suffix[1:] for suffix in FORMATS)
        raise InputError(f"format is {file_format!r}; choose one of {allowed}.")
    batch, metadata = load_fields(fields)
    if (batch.config.in_features, batch.config.out_features) != (3, 1):
        raise InputError(f"{fields} has no solids but {batch.config}; draw its fields with `weightgpt render`.")
    with atomic_write(output) as draft:
        draft.mkdir()
        outcomes = cli_io.write_meshes(draft, batch, metadata, resolution, f".{file_format}")
    cli_io.print_results({"output": str(output), "fields": len(batch), **outcomes}, as_json)


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

    cli_io.check_file(output, ".png")
    batch, metadata = load_fields(fields)
    cli_io.write_picture(output, batch, list(metadata.names), size)
    cli_io.print_results({"output": str(output), "fields": len(batch)}, as_json)


@app.command()
def evaluate(
    generated: Annotated[str, typer.Argument(help="samples: a folder of meshes or a .safetensors file of fields")],
    train: Annotated[str, typer.Option(help="the shapes that the model learned from, in the same form")],
    held_out: Annotated[str, typer.Option(help="held-out shapes of the same kind, in the same form")],
    count: Annotated[int | None, typer.Option(min=2, help="shapes in each set; all by default")] = None,
    max_memorized: Annotated[
        float | None, typer.Option(min=0, max=1, help="end with exit code 1 if a larger share is memorized")
    ] = None,
    points: Annotated[int, typer.Option(min=16, help="points on each surface")] = 512,
    emd: Annotated[
        int, typer.Option(min=0, help="shapes to compare by the earth mover's distance as well, which is slow")
    ] = 0,
    resolution: Resolution = 64,
    seed: Seed = 0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="a .json file for the metrics")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="a .png file for samples next to their nearest training shapes")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare samples with held-out shapes, and check whether they are copies of training shapes.

    Meshes are centered and scaled to a longest side of 1.8. Fields are taken as they are.

    Example: weightgpt evaluate new.safetensors --train train.safetensors --held-out test.safetensors -o metrics.json
    """
    for path, suffix in ((output, ".json"), (picture, ".png")):
        if path is not None:
            cli_io.check_file(path, suffix)
    options = {"count": count, "points": points, "emd": emd, "resolution": resolution, "seed": seed}
    report = cli_io.evaluate_files((generated, train, held_out), options, output, picture, as_json)
    if max_memorized is not None and (objection := report.memorization_objection(max_memorized)):
        cli_io.warn(objection)
        raise typer.Exit(1)


@app.command()
def info(
    path: Annotated[str, typer.Argument(help="a model, a file of fields or of tokens, or a mesh")],
    revision: Revision = None,
    as_json: Json = False,
) -> None:
    """Describe a model, a file or a mesh.

    Example: weightgpt info runs/demo/model
    """
    cli_io.print_results(cli_inputs.describe(path, revision), as_json)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code.

    Args:
        arguments: words after `weightgpt`; those of the process when None.

    Raises:
        SystemExit: always.
    """
    cli_io.tolerate_any_terminal()
    try:
        with sigterm_as_interrupt() as terminated:
            code = app(arguments, standalone_mode=False)
    except OSError as error:
        place = "" if error.filename is None else f" {error.filename}"
        cli_io.warn(
            f"cannot read or write{place} ({error.strerror or error}); make it possible, or choose another place."
        )
        sys.exit(2)
    except Exception as error:
        # Usage errors, such as an unknown option, have this method; their class differs between versions of Typer.
        format_message = getattr(error, "format_message", None)
        if format_message is None and not isinstance(error, InputError):
            raise
        cli_io.warn(" ".join((format_message() if format_message else str(error)).split()))
        sys.exit(2)
    if code == 130:
        code, ended = (143, "terminated") if terminated.is_set() else (130, "interrupted")
        cli_io.warn(f"{ended}; no unfinished file is left.")
    sys.exit(code)
