"""Six built-in families of shapes with analytic signed distances: chair, table, airplane, lamp, mug, bottle.

Decisions:

- y is up, and an airplane flies towards +z. As for the furniture, each family draws its proportions first and derives
  the parts from them. Parts overlap well and are joined by `union`. Nothing is thinner than 0.09.
- Every shape is centered in the unit cube and has a longest side of 1.65 to 1.8.
- A shape depends on its number and not on the number of shapes, so that a longer list begins with the shorter one.
"""

from collections.abc import Callable, Sequence

import numpy as np

from weightgpt.errors import InputError, check_whole
from weightgpt.shapes import furniture
from weightgpt.shapes.furniture import Rng, pick
from weightgpt.shapes.lazy import LazySequence
from weightgpt.shapes.primitives import Outline, Solid, Vector, arc, cylinder, extrude, revolve, sphere, tube, union
from weightgpt.shapes.shape import Sdf, Shape


def draw_shapes(n: int, seed: int, families: Sequence[str] | None = None) -> list[Shape]:
    """Draw random shapes of the built-in families; the families take turns.

    Args:
        n: number of shapes.
        seed: shape i depends only on the seed, on i and on its family.
        families: names of families, keys of `FAMILIES`; all six by default.

    Returns:
        The shapes, each labeled with its family.

    Raises:
        InputError: `n` or `seed` is negative, or a family is unknown.

    Examples:
        >>> [shape.name for shape in draw_shapes(3, seed=0, families=["chair", "mug"])]
        ['chair-00000', 'mug-00001', 'chair-00002']
    """
    names = list(FAMILIES if families is None else families)
    unknown = [repr(name) for name in names if name not in FAMILIES]
    if unknown or not names:
        mistake = f"{unknown[0]} is no built-in family" if unknown else "the list of families is empty"
        raise InputError(f"{mistake}; choose among {', '.join(FAMILIES)}.")
    n, seed = check_whole("n", n, 0), check_whole("seed", seed, 0)
    return [_draw(seed, i, names[i % len(names)]) for i in range(n)]


def lazy_shapes(first: int, count: int, seed: int) -> LazySequence[Shape]:
    """Draw shapes of all families when they are read: the shapes of `draw_shapes` from number `first` on.

    A shape takes 20 kB, so tens of thousands of them should not be in memory together.

    Args:
        first: number of the first shape.
        count: number of shapes.
        seed: seed of `draw_shapes`.
    """
    names = list(FAMILIES)
    return LazySequence(count, lambda i: _draw(seed, first + i, names[(first + i) % len(names)]))


def _draw(seed: int, i: int, family: str) -> Shape:
    """Draw shape number `i`."""
    rng = np.random.default_rng([seed, i, *family.encode()])
    return Shape(name=f"{family}-{i:05d}", label=family, sdf=FAMILIES[family](rng))


def airplane(rng: Rng) -> Solid:
    """A fuselage with straight or swept wings, a low or a tee tail, and up to two engines below the wings.

    Args:
        rng: source of the random numbers.
    """
    r, span, style = rng.uniform(0.15, 0.2), rng.uniform(0.65, 0.88), pick(rng, "straight", "swept")
    root = rng.uniform(0.36, 0.5)
    tip = rng.uniform(0.6, 1.0) * root if style == "straight" else 0.2
    sweep = rng.uniform(0.0, 0.06) if style == "straight" else rng.uniform(0.25, 0.55)
    tilt, level = rng.uniform(0.0, 6.0), r * rng.choice([-0.5, 0.5])
    wing = _flat([(-0.02, 0.0), (span, -sweep), (span, -sweep - tip), (-0.02, -root)]).translate(z=0.32)
    pod_position = 0.42
    pod = cylinder(rng.uniform(0.085, 0.1), rng.uniform(0.28, 0.36)).rotate("x", 90.0)
    pods = [pod.translate(pod_position * span, -0.1, 0.3 - pod_position * sweep)] if rng.random() < 0.5 else []
    wings = union(wing, *pods).rotate("z", tilt).translate(y=level).mirror("x")
    return union(_fuselage(rng, r), wings, *_tail(rng)).scale_to(rng.uniform(1.7, 1.8))


def _flat(outline: Outline) -> Solid:
    """A plate of thickness 0.13 about y = 0, with the outline (x, z)."""
    return extrude(outline, 0.13).rotate("x", 90.0)


def _fuselage(rng: Rng, r: float) -> Solid:
    """A body of revolution along z, from -0.85 to 0.85, with a blunt or pointed nose and a tapering tail."""
    blunt, waist = rng.uniform(0.15, 0.5), rng.uniform(-0.35, -0.05)
    nose = [(r * c, 0.85 - blunt * (1.0 - s)) for c, s in arc(0.0, np.pi / 2, 5)[:-1]]
    return revolve([(0.0, -0.85), (0.07, -0.85), (r, waist), *nose, (0.0, 0.85)]).rotate("x", 90.0)


def _tail(rng: Rng) -> list[Solid]:
    """A fin and a tailplane."""
    height, root, span = rng.uniform(0.34, 0.44), rng.uniform(0.28, 0.36), rng.uniform(0.28, 0.4)
    outline = [(-0.55, 0.0), (-0.66, height), (-0.84, height), (-0.55 - root, 0.0)]
    fin = extrude([(-z, y) for z, y in outline], 0.13).rotate("y", 90.0)
    plane = _flat([(-0.02, -0.54), (span, -0.65), (span, -0.84), (-0.02, -0.85)])
    return [fin, plane.translate(y=0.34 if rng.random() < 0.3 else 0.0).mirror("x")]


def mug(rng: Rng) -> Solid:
    """A hollow cup, straight, tapered, bellied or waisted, with a round or square handle on the side +x.

    Args:
        rng: source of the random numbers.
    """
    tall, top, wall = rng.uniform(0.95, 1.5), rng.uniform(0.45, 0.6), rng.uniform(0.14, 0.17)
    foot, belly = top * rng.uniform(0.65, 1.1), [0.0, 0.0, 0.13, -0.07][int(rng.integers(4))]
    y = np.linspace(0.0, 1.0, 7 if belly else 2)
    outer = foot + (top - foot) * y + belly * np.sin(np.pi * y)
    floor = np.linspace(wall / tall, 1.0, len(y))
    inner = np.interp(floor, y, outer) - wall
    cup = [*zip(outer, tall * y, strict=True), *zip(inner[::-1], tall * floor[::-1], strict=True)]
    ends = [
        (float(np.interp(f, y, outer)) - wall / 2, f * tall) for f in (rng.uniform(0.12, 0.3), rng.uniform(0.72, 0.88))
    ]
    handle = tube(_handle(rng, *ends), 0.075)
    return union(revolve([(0.0, 0.0), *cup, (0.0, wall)]), handle).scale_to(rng.uniform(1.65, 1.8))


def _handle(rng: Rng, low: tuple[float, float], high: tuple[float, float]) -> list[Vector]:
    """The center line of a handle from `low` to `high`, each (x, y) in the middle of the wall."""
    style, out = pick(rng, "round", "round", "square"), max(low[0], high[0]) + rng.uniform(0.34, 0.48)
    drop = high[1] - low[1]
    if style == "square":
        corner = [(out - 0.08, low[1]), (out, low[1] + 0.08), (out, high[1] - 0.08), (out - 0.08, high[1])]
    else:
        middle, reach = (low[1] + high[1]) / 2, out - max(low[0], high[0])
        corner = [(out - reach * (1.0 - c), middle + drop / 2 * s) for c, s in arc(-np.pi / 2, np.pi / 2, 9)[1:-1]]
    return [(x, y, 0.0) for x, y in [low, *corner, high]]


def bottle(rng: Rng) -> Solid:
    """A straight, waisted or conical body with a shoulder and a neck, some with a cap or a stopper.

    Args:
        rng: source of the random numbers.
    """
    style, r = pick(rng, "straight", "straight", "waisted", "cone"), rng.uniform(0.28, 0.46)
    body, slope, neck = rng.uniform(0.6, 1.1), rng.uniform(0.1, 0.5), rng.uniform(0.25, 0.5)
    throat = rng.uniform(0.1, 0.4 * r + 0.02)
    side = {"straight": [(r, 0.05)], "waisted": [(r, 0.05), (r, 0.3 * body), (0.78 * r, 0.6 * body)]}.get(style, [])
    shoulder = [(throat + (r - throat) * c, body + slope * s) for c, s in arc(0.0, np.pi / 2, 5)]
    if style == "cone":
        side, shoulder = [(1.15 * r, 0.06)], [(throat, body + slope)]
    top = body + slope + neck
    parts = [revolve([(0.0, 0.0), (side[0][0] - 0.05, 0.0), *side, *shoulder, (throat, top), (0.0, top)])]
    cap = pick(rng, "none", "cap", "stopper")
    if cap == "cap":
        parts.append(cylinder(throat + 0.05, rng.uniform(0.2, 0.3)).translate(y=top))
    elif cap == "stopper":
        parts.append(sphere(throat + 0.06).translate(y=top + 0.5 * throat))
    return union(*parts).scale_to(rng.uniform(1.68, 1.8))


FAMILIES: dict[str, Callable[[Rng], Sdf]] = {
    "chair": furniture.chair,
    "table": furniture.table,
    "airplane": airplane,
    "lamp": furniture.lamp,
    "mug": mug,
    "bottle": bottle,
}
"""Each family as a function that draws one signed distance function."""
