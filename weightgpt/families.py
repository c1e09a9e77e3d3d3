"""Six built-in families of shapes with analytic distances: chair, table, airplane, lamp, mug, bottle.

Decisions: as for the furniture, y is up (an airplane flies to +z), parts follow from proportions drawn first, reach
well into each other and are joined by `union`, and nothing is thinner than 0.09. Every sample is centred in the unit
cube, with a longest side of 1.65 to 1.8. A shape depends on its number, not on how many are drawn.
"""

from collections.abc import Callable, Sequence

import numpy as np

from weightgpt import furniture
from weightgpt.files import InputError
from weightgpt.furniture import Rng, pick
from weightgpt.primitives import Outline, Solid, Vector, arc, box, cylinder, extruded, revolved, sphere, tube, union
from weightgpt.shapes import Sdf, Shape


def draw_shapes(n: int, seed: int, families: Sequence[str] | None = None) -> list[Shape]:
    """Draw `n` shapes, the `families` (all, by default) taking turns; shape i depends only on (seed, i, its family).

    Raises:
        InputError: `n` or `seed` is negative, or a family is unknown.
    """
    names = list(FAMILIES if families is None else families)
    unknown = [repr(name) for name in names if name not in FAMILIES]
    if unknown or not names:
        given = f"{unknown[0]} is no built-in family" if unknown else "no family was given"
        raise InputError(f"{given}; choose among {', '.join(FAMILIES)}.")
    if n < 0 or seed < 0:
        raise InputError(f"{n} shapes of seed {seed} were asked for; give a count and a seed of at least 0.")
    return [_draw(seed, i, names[i % len(names)]) for i in range(n)]


def _draw(seed: int, i: int, family: str) -> Shape:
    rng = np.random.default_rng([seed, i, *family.encode()])
    return Shape(name=f"{family}-{i:05d}", label=family, sdf=FAMILIES[family](rng))


def airplane(rng: Rng) -> Solid:
    """A fuselage with straight, swept, delta or double wings, one of five tails, engines or a propeller."""
    r, span, style = rng.uniform(0.13, 0.18), rng.uniform(0.65, 0.88), pick(rng, "straight", "swept", "swept", "delta")
    root = rng.uniform(*{"straight": (0.3, 0.4), "swept": (0.36, 0.5), "delta": (0.8, 1.0)}[style])
    tip = {"straight": rng.uniform(0.6, 1.0) * root, "swept": 0.17, "delta": 0.15}[style]
    sweep = {"straight": rng.uniform(0.0, 0.06), "swept": rng.uniform(0.25, 0.55), "delta": root - 0.18}[style]
    tilt, level = rng.uniform(0.0, 6.0), r * rng.choice([-0.5, 0.0, 0.5])
    wing = _flat([(-0.02, 0.0), (span, -sweep), (span, -sweep - tip), (-0.02, -root)]).moved(z=0.32)
    if style == "straight" and rng.random() < 0.3:
        struts = [cylinder(0.05, 0.45).moved(x, 0.15, 0.32 - root / 2).mirrored("x") for x in (0.09, 0.65 * span)]
        wings = [wing.moved(y=-0.06).mirrored("x"), wing.moved(y=0.38).mirrored("x"), *struts]
    else:
        pods = [_pod(rng).moved(f * span, -0.09, 0.3 - f * sweep) for f in _pods(rng, style)]
        wings = [union(wing, *pods).turned("z", tilt).moved(y=level).mirrored("x")]
    tail = _tail(rng) if style != "delta" else [_fin(rng)]
    return union(_fuselage(rng, r), *wings, *tail, *_more_engines(rng, r)).fitted(rng.uniform(1.7, 1.8))


def _flat(outline: Outline) -> Solid:
    """A polygon of (x, z), as a plate of thickness 0.11 about y = 0."""
    return extruded(outline, 0.11).turned("x", 90.0)


def _fuselage(rng: Rng, r: float) -> Solid:
    """A body of revolution along z, from -0.85 to 0.85, with a blunt or pointed nose and a tapering tail."""
    blunt, waist = rng.uniform(0.15, 0.5), rng.uniform(-0.35, -0.05)
    nose = [(r * c, 0.85 - blunt * (1.0 - s)) for c, s in arc(0.0, np.pi / 2, 5)[:-1]]
    return revolved([(0.0, -0.85), (0.06, -0.85), (r, waist), *nose, (0.0, 0.85)]).turned("x", 90.0)


def _fin(rng: Rng) -> Solid:
    height, root = rng.uniform(0.32, 0.42), rng.uniform(0.26, 0.36)
    outline = [(-0.55, 0.0), (-0.66, height), (-0.84, height), (-0.55 - root, 0.0)]
    return extruded([(-z, y) for z, y in outline], 0.11).turned("y", 90.0)


def _tail(rng: Rng) -> list[Solid]:
    span, style = rng.uniform(0.28, 0.4), pick(rng, "low", "low", "tee", "vee", "twin")
    plane = _flat([(-0.02, -0.56), (span, -0.67), (span, -0.84), (-0.02, -0.85)])
    if style == "vee":
        return [plane.turned("z", 38.0).mirrored("x")]
    if style == "tee":
        return [_fin(rng), plane.moved(y=0.33).mirrored("x")]
    if style == "twin":
        return [union(plane, box(0.11, 0.32, 0.2).moved(span, 0.05, -0.76)).mirrored("x")]
    return [_fin(rng), plane.mirrored("x")]


def _pods(rng: Rng, style: str) -> list[float]:
    """Places of the engines below a wing, as fractions of the span."""
    return [[], [], [0.42], [0.36, 0.68]][int(rng.integers(4))] if style != "delta" else []


def _pod(rng: Rng) -> Solid:
    return cylinder(rng.uniform(0.07, 0.085), rng.uniform(0.26, 0.34)).turned("x", 90.0)


def _more_engines(rng: Rng, r: float) -> list[Solid]:
    kind = pick(rng, "none", "none", "rear", "propeller")
    if kind == "rear":
        return [_pod(rng).moved(0.7 * r + 0.05, 0.05, -0.28).mirrored("x")]
    blade = box(rng.uniform(0.5, 0.7), 0.11, 0.1, 0.03).turned("z", rng.uniform(0.0, 90.0))
    return [blade.moved(z=0.79)] if kind == "propeller" else []


def mug(rng: Rng) -> Solid:
    """A hollow cup, straight, tapered, bellied or waisted, with a round, square or ear-shaped handle on +x."""
    tall, top, wall = rng.uniform(0.95, 1.5), rng.uniform(0.45, 0.6), rng.uniform(0.13, 0.15)
    foot, belly = top * rng.uniform(0.65, 1.1), [0.0, 0.0, 0.13, -0.07][int(rng.integers(4))]
    y = np.linspace(0.0, 1.0, 7 if belly else 2)
    outer = foot + (top - foot) * y + belly * np.sin(np.pi * y)
    floor = np.linspace(wall / tall, 1.0, len(y))
    inner = np.interp(floor, y, outer) - wall
    cup = [*zip(outer, tall * y, strict=True), *zip(inner[::-1], tall * floor[::-1], strict=True)]
    ends = [
        (float(np.interp(f, y, outer)) - wall / 2, f * tall) for f in (rng.uniform(0.12, 0.3), rng.uniform(0.72, 0.88))
    ]
    handle = tube(_handle(rng, *ends), 0.062)
    return union(revolved([(0.0, 0.0), *cup, (0.0, wall)]), handle).fitted(rng.uniform(1.65, 1.8))


def _handle(rng: Rng, low: tuple[float, float], high: tuple[float, float]) -> list[Vector]:
    """The centre line of a handle from `low` to `high`, each (x, y) in the middle of the wall."""
    style, out = pick(rng, "round", "round", "square", "ear"), max(low[0], high[0]) + rng.uniform(0.34, 0.48)
    drop = high[1] - low[1]
    if style == "square":
        corner = [(out - 0.08, low[1]), (out, low[1] + 0.08), (out, high[1] - 0.08), (out - 0.08, high[1])]
    elif style == "ear":
        corner = [
            (out - 0.2, low[1] + 0.2 * drop),
            (out, low[1] + 0.6 * drop),
            (out, high[1]),
            (out - 0.1, high[1] + 0.08),
        ]
    else:
        middle, reach = (low[1] + high[1]) / 2, out - max(low[0], high[0])
        corner = [(out - reach * (1.0 - c), middle + drop / 2 * s) for c, s in arc(-np.pi / 2, np.pi / 2, 9)[1:-1]]
    return [(x, y, 0.0) for x, y in [low, *corner, high]]


def bottle(rng: Rng) -> Solid:
    """A straight, waisted, conical or square body, a shoulder, a neck, and perhaps a cap, a lip or a stopper."""
    style, r = pick(rng, "straight", "straight", "waisted", "cone", "square"), rng.uniform(0.26, 0.46)
    body, slope, neck = rng.uniform(0.6, 1.1), rng.uniform(0.1, 0.5), rng.uniform(0.25, 0.5)
    throat = rng.uniform(0.09, 0.4 * r + 0.02)
    side = {"straight": [(r, 0.05)], "waisted": [(r, 0.05), (r, 0.3 * body), (0.78 * r, 0.6 * body)]}.get(style, [])
    shoulder = [(throat + (r - throat) * c, body + slope * s) for c, s in arc(0.0, np.pi / 2, 5)]
    if style == "square":
        shoulder = [(0.85 * r, body + 0.02), (0.7 * r, body + 0.12), (throat, body + slope)]
    if style == "cone":
        side, shoulder = [(1.15 * r, 0.06)], [(throat, body + slope)]
    top = body + slope + neck
    outline = [(side[0][0] - 0.05, 0.0), *side] if side else [(r, body - 0.02)]
    parts = [revolved([(0.0, outline[0][1]), *outline, *shoulder, (throat, top), (0.0, top)])]
    if style == "square":
        parts.append(box(2 * r, body, 2 * r, rng.uniform(0.0, 0.12)).moved(y=body / 2))
    cap = pick(rng, "none", "cap", "lip", "stopper")
    if cap == "cap":
        parts.append(cylinder(throat + 0.05, rng.uniform(0.2, 0.3)).moved(y=top))
    elif cap == "lip":
        parts.append(cylinder(throat + 0.05, 0.12).moved(y=top - rng.uniform(0.06, 0.12)))
    elif cap == "stopper":
        parts.append(sphere(throat + 0.06).moved(y=top + 0.5 * throat))
    return union(*parts).fitted(rng.uniform(1.68, 1.8))


FAMILIES: dict[str, Callable[[Rng], Sdf]] = {
    "chair": furniture.chair,
    "table": furniture.table,
    "airplane": airplane,
    "lamp": furniture.lamp,
    "mug": mug,
    "bottle": bottle,
}
