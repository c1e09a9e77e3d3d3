"""The three families of furniture: chair, table and lamp, each with an analytic signed distance.

Decisions:

- y is up, and a chair faces +z.
- Each family draws its proportions first and derives the parts from them. A part reaches well into the part that
  carries it, so that a shape is one connected piece. The parts are joined by `union`.
- The finished shape is scaled to the unit cube. Nothing is thinner than 0.09, so that a small network can fit it.
"""

import numpy as np

from weightgpt.shapes.primitives import Solid, arc, box, cone, cylinder, extrude, revolve, round_cone, union

Rng = np.random.Generator


def pick(rng: Rng, *options: str) -> str:
    """Draw one of `options`; an option that is listed twice is twice as likely.

    Args:
        rng: source of the random numbers.
        options: names to draw from.
    """
    return options[int(rng.integers(len(options)))]


def chair(rng: Rng) -> Solid:
    """A seat on square or splayed legs or a pedestal, with a panel, arch or ladder back, with or without arms.

    Args:
        rng: source of the random numbers.
    """
    w, d, seat = rng.uniform(0.42, 0.6), rng.uniform(0.42, 0.55), rng.uniform(0.14, 0.2)
    height, back = rng.uniform(0.6, 0.85), rng.uniform(0.65, 1.0)
    lean = -rng.uniform(0.0, 12.0)
    parts = [box(2 * w, seat, 2 * d, rng.uniform(0.0, 0.055)).translate(y=-seat / 2)]
    parts.append(_chair_back(rng, w, back).rotate("x", lean).translate(z=0.075 - d))
    parts += _chair_legs(rng, w, d, height)
    if rng.random() < 0.35:
        rise = rng.uniform(0.34, 0.44)
        post = box(0.15, rise, 0.15).translate(w - 0.075, rise / 2 - 0.06, 0.5 * d)
        rest = box(0.15, 0.14, 1.65 * d, 0.03).translate(w - 0.075, rise - 0.1, -0.16 * d)
        parts.append(union(post, rest).mirror("x"))
    return union(*parts).scale_to(rng.uniform(1.68, 1.8))


def _chair_legs(rng: Rng, w: float, d: float, height: float) -> list[Solid]:
    """Square or splayed legs, or a pedestal, below a seat of half-sides `w` and `d`."""
    style, t = pick(rng, "square", "square", "splayed", "pedestal"), rng.uniform(0.15, 0.2)
    if style == "square":
        return [box(t, height, t).translate(w - t / 2, -height / 2 - 0.02, d - t / 2).mirror("xz")]
    if style == "splayed":
        splay = rng.uniform(0.0, 0.12)
        foot = (w - 0.08 + splay, -height, d - 0.08 + splay)
        return [round_cone((w - 0.12, -0.08, d - 0.12), foot, t / 2, 0.07).mirror("xz")]
    reach, column = rng.uniform(0.8, 1.0) * min(w, d), cylinder(t / 2, height).translate(y=-height / 2 - 0.02)
    return [column, cone(reach, 0.7 * reach, 0.14).translate(y=-height - 0.05)]


def _chair_back(rng: Rng, w: float, height: float) -> Solid:
    """A back in the plane z = 0 that stands on y = 0 and reaches a little below it."""
    style = pick(rng, "panel", "arch", "ladder")
    if style == "panel":
        return box(2 * w, height + 0.1, 0.15, rng.uniform(0.0, 0.05)).translate(y=height / 2 - 0.05)
    if style == "arch":
        top = [(w * c, height - 0.6 * w * (1.0 - s)) for c, s in arc(0.0, np.pi, 8)]
        return extrude([(-0.85 * w, -0.1), (0.85 * w, -0.1), *top], 0.15)
    post = box(0.15, height + 0.1, 0.15).translate(w - 0.075, height / 2 - 0.05).mirror("x")
    rail = box(2 * w, rng.uniform(0.18, 0.3), 0.15).translate(y=height - 0.1)
    return union(post, rail, box(2 * w - 0.14, 0.16, 0.14).translate(y=0.42 * height))


def table(rng: Rng) -> Solid:
    """A round top on a pedestal, or a long one on legs or panels.

    Args:
        rng: source of the random numbers.
    """
    t = rng.uniform(0.13, 0.19)
    if rng.random() < 0.5:
        w, height = rng.uniform(0.6, 0.85), rng.uniform(0.55, 1.3)
        return union(cylinder(w, t).translate(y=-t / 2), *_pedestal(rng, w, height)).scale_to(rng.uniform(1.65, 1.8))
    w, height = 0.85, rng.uniform(0.55, 1.1)
    d = w * rng.uniform(0.45, 0.8)
    top = box(2 * w, t, 2 * d, rng.uniform(0.0, 0.05)).translate(y=-t / 2)
    return union(top, *_long_support(rng, w, d, height)).scale_to(rng.uniform(1.65, 1.8))


def _pedestal(rng: Rng, w: float, height: float) -> list[Solid]:
    """A column on a cone or a disc, below a round top of radius `w`."""
    t, reach = rng.uniform(0.08, 0.14), rng.uniform(0.5, 0.75) * w
    column = cylinder(t, height).translate(y=-height / 2 - 0.02)
    if rng.random() < 0.5:
        return [column, cone(reach, t, height * rng.uniform(0.4, 0.95)).translate(y=-height - 0.02)]
    return [column, cylinder(reach, 0.14).translate(y=-height + 0.02)]


def _long_support(rng: Rng, w: float, d: float, height: float) -> list[Solid]:
    """Four legs, some with a shelf, or two panels, below a long top of half-sides `w` and `d`."""
    t, low = rng.uniform(0.15, 0.22), rng.uniform(0.5, 0.8)
    if rng.random() < 0.6:
        legs = box(t, height, t).translate(w - t / 2, -height / 2 - 0.02, d - t / 2).mirror("xz")
        shelf = box(2 * w - t, 0.14, 2 * d - t).translate(y=-height * low)
        return [legs, shelf] if rng.random() < 0.4 else [legs]
    x = w - rng.uniform(0.06, 0.3)
    return [box(0.15, height, 2 * d - 0.1).translate(x, -height / 2 - 0.02).mirror("x")]


def lamp(rng: Rng) -> Solid:
    """A table lamp with a turned body or a floor lamp, with a drum, a hollow shade or a dome.

    Args:
        rng: source of the random numbers.
    """
    return union(*(_body_lamp if rng.random() < 0.6 else _floor_lamp)(rng)).scale_to(rng.uniform(1.68, 1.8))


def _shade(rng: Rng, radius: float, height: float) -> Solid:
    """A shade from y = 0 to `height`: a closed or hollow frustum or a dome, solid at the end of the pole."""
    style, top = pick(rng, "drum", "open", "dome"), radius * rng.uniform(0.5, 0.9)
    if style == "dome":
        return revolve([(0.0, 0.0), *[(radius * c, height * s) for c, s in arc(0.0, np.pi / 2, 6)[:-1]], (0.0, height)])
    if style == "drum":
        return cone(radius, top, height)
    hollow = [(0.0, height - 0.15), (top - 0.15, height - 0.15), (radius - 0.15, 0.0)]
    return revolve([*hollow, (radius, 0.0), (top, height), (0.0, height)])


def _body_lamp(rng: Rng) -> list[Solid]:
    """A table lamp with a turned body."""
    tall, belly, widest = rng.uniform(0.75, 1.0), rng.uniform(0.18, 0.36), rng.uniform(0.25, 0.75)
    y = np.linspace(0.0, 1.0, 8)
    x = 0.085 + (belly - 0.085) * np.exp(-(((y - widest) / rng.uniform(0.25, 0.4)) ** 2))
    x[0] = max(x[0], rng.uniform(0.16, 0.3))
    body = revolve([(0.0, 0.0), *zip(x.tolist(), (y * tall).tolist(), strict=True), (0.0, tall)])
    radius, height = belly + rng.uniform(0.15, 0.3), rng.uniform(0.45, 0.65)
    pole = cylinder(0.075, 0.2 + height).translate(y=tall + height / 2 - 0.1)
    return [body, pole, _shade(rng, radius, height).translate(y=tall + 0.05)]


def _floor_lamp(rng: Rng) -> list[Solid]:
    """A lamp on a tall pole with a heavy foot."""
    radius, height = rng.uniform(0.32, 0.46), rng.uniform(0.35, 0.5)
    reach = radius * rng.uniform(0.8, 1.0)
    foot = cylinder(reach, 0.14).translate(y=0.07) if rng.random() < 0.5 else cone(reach, 0.1, rng.uniform(0.2, 0.3))
    pole = cylinder(rng.uniform(0.07, 0.09), 1.2 + height).translate(y=0.6 + height / 2)
    return [foot, pole, _shade(rng, radius, height).translate(y=1.25)]
