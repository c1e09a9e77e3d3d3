"""What encoding costs beside what it replaces: `python benchmarks/encoding_speed.py --model BUNDLE --page FILE`.

Three comparisons on chairs that the bundle did not see: a corpus learnt in the loop against plain fits of 128 shapes;
new shapes to tokens against plain fits of the same shapes; latents to codes against vector-quantize-pytorch's residual
quantiser, which holds the very same tables.

Decisions:
- Both sides run in one process on one thread, in turns, after a warm-up. Seconds are the process's own (CPU) seconds,
  which other programs on the machine disturb little; the ratio of the seconds on the clock stands beside.
- Everything a side needs is counted: the start of the learning and the sampling of distances, too.

Dimensions: B shapes or fields, C chunks, Q levels, r latent width, n vectors.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from vector_quantize_pytorch import ResidualVQ

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tokenization.learn_codebook import CodebookConfig, learn
from weightgpt.chunking import ChunkLayout
from weightgpt.codebook import Codebook
from weightgpt.encoding import EncodeConfig
from weightgpt.families import draw_shapes
from weightgpt.field import FieldConfig, Fields
from weightgpt.files import whole, write_json
from weightgpt.fitting import FitConfig, field_iou, fit, mean_field
from weightgpt.hub import load_bundle
from weightgpt.quantiser import Quantiser
from weightgpt.sampling import Samples, sample, shared_schedule, uniform_points
from weightgpt.shapes import Shape

Row = dict[str, Any]
FAMILY, POINTS, JUDGED = "chair", 8192, 16384


@dataclass(frozen=True)
class Seconds:
    """What one call took."""

    process: float
    clock: float

    def __add__(self, other: "Seconds") -> "Seconds":
        return Seconds(self.process + other.process, self.clock + other.clock)


def timed(call: Callable[[], Any]) -> tuple[Any, Seconds]:
    """The result of a call and its seconds."""
    process, clock = time.process_time(), time.perf_counter()
    result = call()
    return result, Seconds(time.process_time() - process, time.perf_counter() - clock)


def in_turns(calls: list[Callable[[int], Any]], repetitions: int) -> list[list[Seconds]]:
    """The seconds of each call, called in turns with the number of the turn; turn 0 warms up and is left out."""
    found: list[list[Seconds]] = [[] for _ in calls]
    for turn in range(repetitions + 1):
        for seconds, call in zip(found, calls, strict=True):
            took = timed(lambda call=call, turn=turn: call(turn))[1]
            if turn:
                seconds.append(took)
    return found


def row(what: str, ours: list[Seconds], other: list[Seconds], **more: Any) -> Row:
    """A row of the table: medians of both sides and how many times faster ours is."""
    process = [statistics.median(one.process for one in side) for side in (ours, other)]
    clock = [statistics.median(one.clock for one in side) for side in (ours, other)]
    return {
        "what": what,
        "ours": process[0],
        "other": process[1],
        "faster": process[1] / process[0],
        "faster_on_the_clock": clock[1] / clock[0],
        "repetitions": len(ours),
        **more,
    }


@torch.no_grad()
def iou_of(quantiser: Quantiser, codes: Tensor, judged: Samples) -> float:
    """Mean IoU of decoded codes with their shapes."""
    return float(field_iou(quantiser.decode(codes), judged).mean())


def corpus(shapes: int, fitted: int, started: int, held: int, config: CodebookConfig) -> Row:
    """A corpus learnt and encoded, against plain fits of `fitted` of its shapes, half before and half after."""
    options, drawn = FitConfig(), draw_shapes(shapes + held, 1, [FAMILY])
    train, rest = drawn[:shapes], drawn[shapes:]
    points = shared_schedule(train, POINTS, 0)
    learnt_from, sampled = timed(lambda: sample(train, points))
    first, fewer = timed(lambda: sample(train[:fitted], points))
    initial = mean_field(FieldConfig(), learnt_from.select(slice(0, 512)), options)

    def fits(which: slice) -> Fields:
        return fit(FieldConfig(), first.select(which), options, initial=initial).fields

    def ours() -> Quantiser:
        layout = ChunkLayout(FieldConfig(), config.neurons)
        quantiser = learn(layout, fits(slice(0, started)), learnt_from, config).quantiser
        quantiser.encode_samples(learnt_from, EncodeConfig(steps=0))
        return quantiser

    _, before = timed(lambda: fits(slice(0, fitted // 2)))
    quantiser, learning = timed(ours)
    _, after = timed(lambda: fits(slice(fitted // 2, fitted)))
    seen, judged = sample(rest, points), sample(rest, uniform_points(JUDGED, 3, 1))
    plain = fit(FieldConfig(), seen, options, initial=initial, judged=judged).iou
    assert plain is not None
    return row(
        f"a corpus of {shapes} shapes learnt and encoded, against {fitted} plain fits",
        [sampled + learning],
        [fewer + before + after],
        steps=config.steps,
        started=started,
        held_out=held,
        iou=iou_of(quantiser, quantiser.encode_samples(seen, EncodeConfig(steps=0)), judged),
        iou_refined=iou_of(quantiser, quantiser.encode_samples(seen, EncodeConfig()), judged),
        refining_steps=EncodeConfig.steps,
        iou_of_plain_fits=float(plain.mean()),
    )


def new_shapes(quantiser: Quantiser, batch: int, repetitions: int) -> Row:
    """New shapes to tokens, against their plain fits from the bundle's own initial field; both sample the shapes."""
    shapes = draw_shapes(batch * (repetitions + 1), 2, [FAMILY])
    points = shared_schedule(shapes[:64], POINTS, 0)
    encoded: list[Tensor] = []
    fitted: list[Tensor] = []

    def chosen(turn: int) -> list[Shape]:
        return shapes[turn * batch : (turn + 1) * batch]

    def ours(turn: int) -> None:
        encoded.append(quantiser.encode_shapes(chosen(turn), EncodeConfig(steps=0)))

    def other(turn: int) -> None:
        samples = sample(chosen(turn), points)
        fitted.append(fit(quantiser.config, samples, FitConfig(), initial=quantiser.initial).fields.flat)

    seconds = in_turns([ours, other], repetitions)
    judged = sample(shapes, uniform_points(JUDGED, 3, 1))
    return row(
        f"{batch} new shape{'s' if batch > 1 else ''} to tokens, against the plain fit{'s' if batch > 1 else ''}",
        *seconds,
        shapes=len(shapes),
        iou=iou_of(quantiser, torch.cat(encoded), judged),
        iou_of_plain_fits=float(field_iou(Fields(quantiser.config, torch.cat(fitted)), judged).mean()),
    )


def holding(tables: Tensor) -> ResidualVQ:
    """The library's residual quantiser with tables (Q, K, r) of ours."""
    levels, codes, width = tables.shape
    vq = ResidualVQ(dim=width, num_quantizers=levels, codebook_size=codes, kmeans_init=False, rotation_trick=False)
    with torch.no_grad():
        for layer, table in zip(vq.layers, tables, strict=True):
            layer._codebook.embed.copy_(table[None])
    return vq.eval()


def compare(tables: Tensor, latents: Tensor, ours: Tensor, theirs: Tensor, tolerance: float = 1e-6) -> dict[str, int]:
    """How codes of two quantisers differ.

    Codes after the first difference of a vector are codes of other rests, so only the first is judged: in float64, is
    one of the two codes nearer than the other by more than rounding?

    Args:
        tables: (Q, K, r) that both hold.
        latents: (…, r).
        ours: codes (…, Q).
        theirs: codes (…, Q).
        tolerance: gap of the squared distances, as a share of the squared lengths that they are made of, up to which
            they are a tie.

    Returns:
        Vectors, those of `different` codes, and among them the `ties`.
    """
    exact, rest = tables.double(), latents.double().flatten(0, -2)
    ours, theirs = (codes.flatten(0, -2) for codes in (ours, theirs))
    same, ties = torch.ones(len(rest), dtype=torch.bool), 0
    for level, table in enumerate(exact):
        left, right = table[ours[:, level]], table[theirs[:, level]]
        gap = ((rest - left).square().sum(-1) - (rest - right).square().sum(-1)).abs()
        size = rest.square().sum(-1) + torch.maximum(left.square().sum(-1), right.square().sum(-1))
        parts = same & (ours[:, level] != theirs[:, level])
        ties += int((parts & (gap <= tolerance * size)).sum())
        same, rest = same & ~parts, rest - left
    return {"vectors": len(rest), "different": int((~same).sum()), "ties": ties}


def codes(codebook: Codebook, latents: Tensor, repetitions: int) -> Row:
    """Latents (B, C, r) to codes, against the library's quantiser."""
    vq = holding(codebook.codes)

    @torch.no_grad()
    def theirs(_: int = 0) -> Tensor:
        found: Tensor = vq(latents)[1]
        return found

    ours, other = in_turns([lambda _: codebook.quantise(latents), theirs], repetitions)
    what = f"codes of {len(latents)} MLPs of {latents.shape[1]} chunks, against ResidualVQ with the same tables"
    return row(what, ours, other, **compare(codebook.codes, latents, codebook.quantise(latents), theirs()))


@torch.no_grad()
def latents_of(quantiser: Any, count: int) -> Tensor:
    """Latents (B, C, r) of the MLPs that the quantiser's encoder makes of `count` shapes; in units of its tables."""
    samples = sample(draw_shapes(count, 3, [FAMILY]), quantiser.encoder.probes)
    latents: Tensor = quantiser.encoder(samples.sdf)
    return latents


def page(rows: list[Row], command: str) -> str:
    """The rows as Markdown."""
    lines = [
        f"| {one['what']} | {one['ours']:.4g} | {one['other']:.4g} | {one['faster']:.2f} |"
        f" {one['faster_on_the_clock']:.2f} | {one['repetitions']} |"
        for one in rows
    ]
    shapes = [
        f"| {one['what']} | {one['iou']:.4f} | {one.get('iou_refined', float('nan')):.4f} |"
        f" {one['iou_of_plain_fits']:.4f} |".replace("nan", "–")
        for one in rows
        if "iou" in one
    ]
    matrix = [f"| {one['vectors']} | {one['different']} | {one['ties']} |" for one in rows if "vectors" in one]
    learnt = next(one for one in rows if "steps" in one)
    return f"""# What encoding costs

Written by `{command}`, on one thread. Medians of repetitions in turns, in seconds of the process; the last ratio is of
seconds on the clock. Above 1 ours is faster. Ours is named first.

| what | ours, s | other, s | other ÷ ours | on the clock | repetitions |
|---|---|---|---|---|---|
{chr(10).join(lines)}

The corpus was learnt in {learnt["steps"]} steps, from {learnt["started"]} plain fits, whose seconds are counted as
ours; the sampling of distances is counted on both sides. New shapes go through the encoder alone, with no refining.

IoU with the true shapes, of chairs that neither side saw in learning ({learnt["held_out"]} for the corpus); refined
means {learnt["refining_steps"]} steps on the latents of each shape, which the seconds above leave out.

| what | IoU through tokens | refined | IoU of the plain fits |
|---|---|---|---|
{chr(10).join(shapes)}

Codes of the two quantisers, vector by vector; a difference is a tie where float64 distances to the two codes differ by
rounding only.

| vectors | with different codes | of these, ties |
|---|---|---|
{chr(10).join(matrix)}
"""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="runs/demo/model", help="bundle of a codebook learnt in the loop")
    parser.add_argument("--output", type=Path, default=Path("runs/speed.json"))
    parser.add_argument("--page", type=Path, help="a Markdown file to write")
    parser.add_argument("--shapes", type=int, default=1024, help="of the corpus")
    parser.add_argument("--fitted", type=int, default=128, help="of the corpus, that are fitted instead")
    parser.add_argument("--started", type=int, default=32, help="of the corpus, fitted for the learning to start from")
    parser.add_argument("--steps", type=int, default=950, help="of the learning")
    parser.add_argument("--held", type=int, default=64, help="shapes held out")
    parser.add_argument("--fields", type=int, nargs="+", default=[1024, 8192], help="MLPs whose codes are found")
    parser.add_argument("--repetitions", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    quantiser: Any = load_bundle(given.model).tokenizer.quantiser
    latents = latents_of(quantiser, max(given.fields))
    rows = [codes(quantiser.codebook, latents[:count], given.repetitions) for count in given.fields]
    rows = [*(new_shapes(quantiser, batch, given.repetitions) for batch in (1, 32)), *rows]
    learning = CodebookConfig(steps=given.steps)
    rows = [corpus(given.shapes, given.fitted, given.started, given.held, learning), *rows]
    command = " ".join(["python", "benchmarks/encoding_speed.py", *sys.argv[1:]])
    write_json(given.output, {"command": command, "torch": torch.__version__, "rows": rows})
    text = page(rows, command)
    print("\n".join(line for line in text.splitlines() if line.startswith("|")))
    if given.page:
        with whole(given.page) as draft:
            draft.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
