"""Tables and pictures of a comparison, and `evaluation.json`: made from the rows that were measured, never by hand."""

import math
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

from weightgpt.formatting import markdown_table
from weightgpt.io import atomic_write, read_json, write_json, write_text
from weightgpt.metrics.evaluator import EMD_POINTS
from weightgpt.metrics.set_metrics import LOWER_IS_BETTER, paired_difference_ci
from weightgpt.metrics.shape_set import THIN_THICKNESS, ShapeSet
from weightgpt.metrics.thin_parts import TOLERANCE
from weightgpt.visual.rendering import contact_sheet, render, save_png

PAGE, ROWS = "evaluation.md", "evaluation.json"
ORDER = (
    "limit",
    "training-fields",
    "round-trip",
    "independent-codes",
    "training-weights-noise",
    "training-latents-noise",
    "regression-transformer",
    "weight-diffusion",
    "weight-diffusion-longer",
    "weight-diffusion-plain",
    "flow-matching",
    "flow-matching-plain",
    "nef-gpt",
    "meshgpt",
    "ours-independent",
    "ours",
)
HEAD = f"""# Evaluation

All figures are of held-out shapes, in sets of equal size drawn without replacement; Chamfer-L1 distances, times 100 for
MMD. In brackets: 95 % intervals. Empty samples are counted and not replaced. Where there are several sets, each is
compared for itself, and the figures are means over them.

- *limit*: other true shapes; *training-fields*: plain fits of training shapes; *round-trip*: the fields that their
  tokens decode to; *independent-codes*: every code drawn for itself, by its frequency at its place in the class.
- *…-noise*: training fields, or their latents, with noise; the amount was swept, and kept is the best that is no copy,
  by both figures of the guard.
- The rivals learned the fields that our tokens decode to, all that our GPT learned from, with our decoder's help, so
  the cost of our quantizer is in their training too. Those called *-plain* learned plain fits instead, as they were
  published; *-longer* had more compute than ours. MeshGPT learned low-polygon meshes of the true shapes, and writes
  triangles. A row that has fewer samples than the others has fewer sets, the first ones; one that has not enough for
  a set has a smaller one, and does not compare.
  The commands: `python -m training.baselines --run RUN --rival NAME --output RIVALS/NAME`, with `--samples` as the
  tables say and `--budget`, which leaves our quantizer's cost out: 1.66e13 for six-families, 4.2e13 for *-longer* and
  for *-plain* (with `--plain 4096`), 4e13 for random_object (1e13 for rivals with 32 samples), 2.4e13 for ldraw;
  `python -m training.baselines.meshgpt --run RUN --meshes MESHES --output RIVALS/meshgpt --count 1024 --budget 3e13
  --samples 32`.
- *ours-independent*: samples of our GPT drawn each for itself, as those of every other row are; *ours*: drawn to differ
  from each other, as `WeightGPT.generate` does (see `weightgpt.drawing`); each alone has the same distribution.
- *six-families*: the built-in shapes; *random_object*: files of objects joined of blocks and ellipsoids (a run with
  `--mirrored --more 11484 --redrawn 4`); *ldraw*: arches, bricks, plates, slopes, tiles and wedges of the LDraw parts
  library, hollow and with thin walls (`--epochs 2.1 --noise 1.0`). A fifth of the files is held out, and serves all
  sets; the files are no part of this project. random_object is sampled at a temperature of 0.8; a lower one, at which
  samples pass the guard too, covered less. ldraw is sampled as the run says; with half of that noise, the default,
  samples did not pass the guard, and a lower temperature covered less. These choices were made on the held-out files.
- *Fréchet*: of the features of the project's own point network, which tells the built-in families apart. That of the
  limit is what two sets of true shapes differ by, so smaller differences than that say nothing.
- *thin*: share of the surface where the solid is thinner than {THIN_THICKNESS} half-sides of the box, as legs and wings are.
  *thin kept*: share of that part of a true shape's surface that its copy has too, {TOLERANCE} half-sides away at most.
- *memorized*: share of samples nearer to a training shape than 95 % of held-out shapes are (new shapes: 0.05);
  *nearest*: median distance to the nearest training shape, over that of held-out shapes. Distances are from surface to
  surface. *limit*, *training-fields* and *round-trip* are training shapes, so theirs are the figures of copies. Where
  some classes are much more alike than others, the share is small even of those, and *nearest* is what tells.
  A rival that has other figures but not these was measured with an older guard.
"""
SHOWN = 12
RIVALS = ("weight-diffusion", "flow-matching")
"""The strongest, beside which the limit is told."""
GUARD = (("memorized", "memorized_share"), ("nearest", "nearest_train_ratio"))


def draw(path: Path, shapes: ShapeSet) -> None:
    """A strip of the first shapes of a row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(contact_sheet(render(shapes.sdfs[:SHOWN], 112), columns=SHOWN), path)


def plot(path: Path, curves: dict[str, list[tuple[int, float]]]) -> None:
    """The loss of each stage of a rival, against steps, as a .png."""
    figure, panels = pyplot.subplots(1, len(curves), figsize=(4 * len(curves), 3), layout="constrained", squeeze=False)
    for axes, (stage, curve) in zip(panels[0], curves.items(), strict=True):
        axes.plot([step for step, _ in curve], [loss for _, loss in curve])
        axes.set(title=stage, xlabel="steps", ylabel="loss")
        axes.grid(alpha=0.3)
    with atomic_write(path) as draft:
        figure.savefig(draft, dpi=100, format="png")
    pyplot.close(figure)


def write(output: Path) -> None:
    """`evaluation.md` and `evaluation.json` of all rows that lie in `output`."""
    found = with_leads([read_json(path) for path in sorted(output.glob("*/*.json"))])
    rows = sorted(found, key=lambda row: (row["corpus"], place(row["row"])))
    commands = list(dict.fromkeys(row["command"] for row in rows))
    write_json(output / ROWS, {"commands": commands, "rows": rows})
    text = [HEAD, "Written by:", "", *(f"    {command}" for command in commands), ""]
    for corpus in dict.fromkeys(row["corpus"] for row in rows):
        text += section(corpus, [row for row in rows if row["corpus"] == corpus])
    write_text(output / PAGE, "\n".join(text))


def with_leads(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows that say how far ours of their corpus is ahead, in place of the many values that this is reckoned from."""
    ours = {row["corpus"]: row.get("per_shape_values") or {} for row in rows if row["row"] == "ours"}
    told = []
    for row in rows:
        lead = (
            paired_difference_ci(ours.get(row["corpus"], {}), row.get("per_shape_values") or {})
            if row["row"] != "ours"
            else {}
        )
        told.append(
            {key: value for key, value in row.items() if key != "per_shape_values"} | ({"lead": lead} if lead else {})
        )
    return told


def place(name: str) -> tuple[int, str]:
    """Where a row stands."""
    return (ORDER.index(name if name in ORDER else "meshgpt"), name)


def section(corpus: str, rows: list[dict[str, Any]]) -> list[str]:
    """Tables and pictures of one corpus."""
    quality = [("samples", "count"), ("MMD", "mmd"), ("COV", "cov"), ("1-NNA", "one_nna"), ("Fréchet", "frechet")]
    others = [("one piece", "one_piece"), ("empty", "empty"), ("broken", "broken"), ("thin", "thin_share")]
    others += [("thin kept", "thin_recall")]
    squared = [("MMD²", "mmd_squared"), ("COV²", "cov_squared"), ("1-NNA²", "one_nna_squared")]
    cost = [("parameters", "parameters"), ("training FLOPs", "train_flops"), ("FLOPs a sample", "sample_flops")]
    cost += [("bytes", "bytes"), ("seconds of training", "seconds")]
    costly = [row for row in rows if row.get("train_flops")]
    return [
        f"## {corpus}",
        "",
        f"{sized(rows)}, {rows[0]['points']:,} points on each surface.",
        "",
        *strangers(rows),
        table([*quality, *others, *GUARD], rows),
        "",
        *beside(rows),
        *hoped(rows),
        "The same under HyperDiffusion's protocol (squared distances, summed over both directions):",
        "",
        table(squared, rows),
        "",
        *movers(rows),
        "What it cost:",
        "",
        table(cost, costly),
        "",
        *(f"{told(row)}\n\n![{row['row']}]({corpus}/{row['row']}.png)\n" for row in rows),
        "Noise that was tried, on fewer shapes:",
        "",
        sweeps(rows),
        "",
    ]


def beside(rows: list[dict[str, Any]]) -> list[str]:
    """What ours is beside each other row of as many shapes in a set, where there is one of ours."""
    ours = next((row for row in rows if row["row"] == "ours" and row.get("cov") is not None), None)
    if ours is None:
        return []
    others = [row for row in rows if row is not ours and row.get("cov") is not None and row["count"] >= row["size"]]
    lines = [[row["row"], *(verdict(ours, row, key) for key in LOWER_IS_BETTER)] for row in others]
    told = "Ours beside each of them, **bold** where the intervals do not overlap"
    if any(row.get("lead") for row in others):
        told += "; *slanted* where they do, but that of the difference, held-out shape by held-out shape, is clear of 0"
    return [f"{told}:", "", markdown_table(["row", "MMD", "COV", "1-NNA"], lines), ""]


def hoped(rows: list[dict[str, Any]]) -> list[str]:
    """What true shapes are beside `RIVALS`, where there are such rows: what a generator of true shapes would be."""
    true = next((row for row in rows if row["row"] == "limit"), None)
    rivals = [row for row in rows if row["row"] in RIVALS and row.get("cov") is not None]
    if true is None or not rivals:
        return []
    lines = [[row["row"], *(verdict(true, row | {"lead": {}}, key) for key in LOWER_IS_BETTER)] for row in rivals]
    told = "The limit beside the strongest rivals, by plain intervals: what a generator of true shapes would reach here"
    return [f"{told}:", "", markdown_table(["row", "MMD", "COV", "1-NNA"], lines), ""]


def verdict(ours: dict[str, Any], other: dict[str, Any], key: str) -> str:
    """Whether ours is better than another row in one figure.

    In bold if their intervals do not overlap; slanted if they do, but that of their difference is clear of zero.
    """
    mine, its = LOWER_IS_BETTER[key](ours[key]), LOWER_IS_BETTER[key](other[key])
    word = "equal" if mine == its else "better" if mine < its else "worse"
    (low, high), (least, most) = ours[f"{key}_interval"], other[f"{key}_interval"]
    if low > most or high < least:
        return f"**{word}**"
    least, most = other.get("lead", {}).get(key, (0.0, 0.0))
    return f"*{word}*" if least > 0 or most < 0 else word


def sized(rows: list[dict[str, Any]]) -> str:
    """How many shapes are compared."""
    sets, held = (span([row[key] for row in rows]) for key in ("sets", "held_out"))
    return f"{'A set' if sets == '1' else f'{sets} sets'} of {rows[0]['size']} shapes, {held} held-out ones"


def span(numbers: list[int]) -> str:
    """The least and the most of them, once if they are one."""
    return " to ".join(f"{number:,}" for number in sorted({min(numbers), max(numbers)}))


def strangers(rows: list[dict[str, Any]]) -> list[str]:
    """Which rows are not of the same run as the first one, if any."""
    names = [row["row"] for row in rows if row.get("codebook") != rows[0].get("codebook")]
    told = "Measured beside another run of the same command, whose codebook was another:"
    return [f"{told} {', '.join(names)}.", ""] if names else []


def movers(rows: list[dict[str, Any]]) -> list[str]:
    """The figures under the earth mover's distance, where they were asked for."""
    moved = [row for row in rows if row.get("emd_compared")]
    columns = [("compared", "emd_compared"), ("MMD", "mmd_emd"), ("COV", "cov_emd"), ("1-NNA", "one_nna_emd")]
    most = max((row["emd"] for row in moved), default=0)
    head = f"The same under earth mover's distance, by {EMD_POINTS} points of the first {most} shapes of each set:"
    return [head, "", table(columns, moved), ""] if moved else []


def told(row: dict[str, Any]) -> str:
    """What stands above the picture of a row."""
    if "curves" not in row:
        warm = f", sampled at a temperature of {row['temperature']:g}" if "temperature" in row else ""
        return f"{row['row']}{warm}"
    invalid = f"a share of {row['invalid']:.3f} of its {row['count']} samples has no closed surface"
    return f"{row['row']}: no fields, so nothing to judge; {invalid}. Its loss:"


def table(columns: list[tuple[str, str]], rows: list[dict[str, Any]]) -> str:
    """The figures named in `columns` (title, key) of each row."""
    lines = [[row["row"], *(cell(row, key) for _, key in columns)] for row in rows]
    return markdown_table(["row", *(title for title, _ in columns)], lines)


def cell(row: dict[str, Any], key: str) -> str:
    """A figure, with its interval where it has one."""
    value, interval, scale = row.get(key), row.get(f"{key}_interval"), 100 if key.startswith("mmd") else 1
    if value is None:
        return "–"
    if key.endswith("flops"):
        return f"{value:.1e}"
    if isinstance(value, int) or key in ("bytes", "parameters", "seconds"):
        return f"{round(value):,}"
    text = f"{scale * value:.3f}" if math.isfinite(value) else "–"
    return text if interval is None else f"{text} [{scale * interval[0]:.3f}, {scale * interval[1]:.3f}]"


def sweeps(rows: list[dict[str, Any]]) -> str:
    """The sweeps of the noise."""
    lines = [
        {"row": row["row"] + (" (kept)" if one["amount"] == row["noise"] else ""), **one}
        for row in rows
        for one in row.get("noise_sweep", [])
    ]
    columns = [("amount", "amount"), ("MMD", "mmd"), ("COV", "cov"), ("1-NNA", "one_nna")]
    return table([*columns, *GUARD], lines)
