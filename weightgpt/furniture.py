"""The families of furniture: chair, table and lamp, each with an analytic signed distance.

Decisions: y is up and a chair faces +z. Each family draws its proportions first and lets the parts follow from them;
the parts reach well into the one that carries them, so that a sample is one connected piece, and are joined by `union`.
The whole is fitted to the unit cube at the end. Nothing is thinner than 0.09, so that a small network can fit it.
"""

import numpy as np

from weightgpt.primitives import (
    Solid,
    arc,
    box,
    cone,
    cylinder,
    extruded,
    revolved,
    round_cone,
    sphere,
    spokes,
    tube,
    union,
)

Rng = np.random.Generator


def pick(rng: Rng, *options: str) -> str:
    """One of `options`; name one twice to make it twice as likely."""
    return options[int(rng.integers(len(options)))]


def chair(rng: Rng) -> Solid:
    """A seat on legs, sled runners or a pedestal, with one of five backs, with or without arms."""
    w, d, seat = rng.uniform(0.42, 0.6), rng.uniform(0.42, 0.55), rng.uniform(0.12, 0.16)
    height, back = rng.uniform(0.6, 0.85), rng.uniform(0.65, 1.0)
    lean = -rng.uniform(0.0, 12.0)
    parts = [box(2 * w, seat, 2 * d, rng.uniform(0.0, 0.055)).moved(y=-seat / 2)]
    parts.append(_chair_back(rng, w, back).turned("x", lean).moved(z=0.065 - d))
    parts += _chair_legs(rng, w, d, height)
    if rng.random() < 0.35:
        rise = rng.uniform(0.34, 0.44)
        post = box(0.12, rise, 0.12).moved(w - 0.06, rise / 2 - 0.06, 0.5 * d)
        rest = box(0.13, 0.12, 1.65 * d, 0.03).moved(w - 0.06, rise - 0.1, -0.16 * d)
        parts.append(union(post, rest).mirrored("x"))
    return union(*parts).fitted(rng.uniform(1.68, 1.8))


def _chair_legs(rng: Rng, w: float, d: float, height: float) -> list[Solid]:
    style, t = pick(rng, "square", "square", "round", "round", "sled", "pedestal"), rng.uniform(0.12, 0.16)
    if style == "square":
        legs = box(t, height, t).moved(w - t / 2, -height / 2 - 0.02, d - t / 2).mirrored("xz")
        rail = box(0.11, 0.11, 2 * d - t).moved(w - t / 2, -rng.uniform(0.5, 0.75) * height).mirrored("x")
        return [legs, rail] if rng.random() < 0.4 else [legs]
    if style == "round":
        splay = rng.uniform(0.0, 0.12)
        foot = (w - 0.08 + splay, -height, d - 0.08 + splay)
        return [round_cone((w - 0.12, -0.08, d - 0.12), foot, t / 2, 0.055).mirrored("xz")]
    if style == "sled":
        x, z = w - 0.08, d - 0.1
        return [tube([(x, -0.06, z), (x, -height, z), (x, -height, -z), (x, -0.06, -z)], 0.06).mirrored("x")]
    reach, column = rng.uniform(0.8, 1.0) * min(w, d), cylinder(t / 2, height).moved(y=-height / 2 - 0.02)
    if rng.random() < 0.5:
        return [column, cone(reach, 0.7 * reach, 0.12).moved(y=-height - 0.05)]
    return [column, spokes(int(rng.integers(4, 6)), reach, 0.06).moved(y=-height)]


def _chair_back(rng: Rng, w: float, height: float) -> Solid:
    """A back that stands on y = 0, and reaches a little below, in the plane z = 0."""
    style = pick(rng, "panel", "arch", "ladder", "bars", "hoop")
    if style == "panel":
        return box(2 * w, height + 0.1, 0.12, rng.uniform(0.0, 0.05)).moved(y=height / 2 - 0.05)
    if style == "arch":
        top = [(w * c, height - 0.6 * w * (1.0 - s)) for c, s in arc(0.0, np.pi, 8)]
        return extruded([(-0.85 * w, -0.1), (0.85 * w, -0.1), *top], 0.12)
    if style == "hoop":
        top = [(0.94 * w * c, height - 0.9 * w * (1.0 - s)) for c, s in arc(0.0, np.pi, 9)]
        hoop = tube([(0.8 * w, -0.05, 0.0), *[(x, y, 0.0) for x, y in top], (-0.8 * w, -0.05, 0.0)], 0.06)
        return union(hoop, box(rng.uniform(0.12, 0.6 * w), height, 0.11).moved(y=height / 2 - 0.06))
    post = box(0.12, height + 0.1, 0.12).moved(w - 0.06, height / 2 - 0.05).mirrored("x")
    rail = box(2 * w, rng.uniform(0.14, 0.24), 0.12).moved(y=height - 0.1)
    if style == "ladder":
        count = int(rng.integers(1, 3))
        rungs = [box(2 * w - 0.12, 0.14, 0.11).moved(y=height * (i + 1) / (count + 1.4) - 0.02) for i in range(count)]
        return union(post, rail, *rungs)
    bars = box(0.11, height, 0.11).moved(0.3 * w, height / 2 - 0.05).mirrored("x")
    return union(post, rail, bars)


def table(rng: Rng) -> Solid:
    """A long, round or many-sided top on legs, a pedestal or panels."""
    t = rng.uniform(0.11, 0.15)
    if rng.random() < 0.5:
        w, height, sides = rng.uniform(0.6, 0.85), rng.uniform(0.55, 1.3), pick(rng, "round", "round", "6", "8")
        top = cylinder(w, t)
        if sides != "round":
            turns = arc(np.pi / int(sides), np.pi * (2 - 1 / int(sides)), int(sides))
            top = extruded([(w * c, w * s) for c, s in turns], t).turned("x", 90.0)
        return union(top.moved(y=-t / 2), *_round_support(rng, w, height)).fitted(rng.uniform(1.65, 1.8))
    w, height = 0.85, rng.uniform(0.55, 1.1)
    d = w * rng.uniform(0.45, 0.8)
    top = box(2 * w, t, 2 * d, rng.uniform(0.0, 0.05)).moved(y=-t / 2)
    return union(top, *_long_support(rng, w, d, height)).fitted(rng.uniform(1.65, 1.8))


def _round_support(rng: Rng, w: float, height: float) -> list[Solid]:
    style, t, reach = pick(rng, "disc", "feet", "legs", "cone"), rng.uniform(0.065, 0.1), rng.uniform(0.5, 0.75) * w
    if style == "legs":
        inner, outer, count = 0.6 * w, rng.uniform(0.6, 0.95) * w, int(rng.integers(3, 5))
        ends = arc(0.25 * np.pi, 2.25 * np.pi, count + 1)[:-1]
        return [round_cone((inner * c, -0.08, inner * s), (outer * c, -height, outer * s), t, 0.06) for c, s in ends]
    column = cylinder(t, height).moved(y=-height / 2 - 0.02)
    if style == "cone":
        return [column, cone(reach, t, height * rng.uniform(0.4, 0.95)).moved(y=-height - 0.02)]
    if style == "disc":
        return [column, cylinder(reach, 0.12).moved(y=-height + 0.02)]
    return [column, spokes(int(rng.integers(3, 5)), 1.1 * reach, 0.065).moved(y=-height + 0.02)]


def _long_support(rng: Rng, w: float, d: float, height: float) -> list[Solid]:
    style, t, low = pick(rng, "square", "round", "panels", "trestle"), rng.uniform(0.12, 0.18), rng.uniform(0.5, 0.8)
    if style == "square":
        legs = box(t, height, t).moved(w - t / 2, -height / 2 - 0.02, d - t / 2).mirrored("xz")
        shelf = box(2 * w - t, 0.11, 2 * d - t).moved(y=-height * low)
        return [legs, shelf] if rng.random() < 0.4 else [legs]
    if style == "round":
        x = w - rng.uniform(0.05, 0.2)
        return [round_cone((w - 0.2, -0.08, d - 0.15), (x, -height, d - 0.08), t / 2, 0.06).mirrored("xz")]
    if style == "panels":
        x = w - rng.uniform(0.06, 0.3)
        panel = box(0.12, height, 2 * d - 0.1).moved(x, -height / 2 - 0.02).mirrored("x")
        return [panel, box(2 * x, rng.uniform(0.12, 0.3), 0.12).moved(y=-height * low * 0.7)]
    legs = round_cone((0.7 * w, -0.08, 0.05), (0.7 * w, -height, d - 0.07), 0.065, 0.065).mirrored("xz")
    cross = box(0.11, 0.11, 0.1 + 2 * (d - 0.12) * low).moved(0.7 * w, -height * low).mirrored("x")
    return [legs, cross, box(1.4 * w, 0.11, 0.12).moved(y=-height * low)]


def lamp(rng: Rng) -> Solid:
    """A table lamp with a turned body, a floor lamp, an arc lamp or a jointed desk lamp."""
    kinds = [_body_lamp, _body_lamp, _floor_lamp, _arc_lamp, _desk_lamp]
    return union(*kinds[int(rng.integers(len(kinds)))](rng)).fitted(rng.uniform(1.68, 1.8))


def _shade(rng: Rng, radius: float, height: float) -> Solid:
    """A shade from y = 0 to `height`: a closed or hollow frustum, a dome or a globe; solid where the pole ends."""
    style, top = pick(rng, "drum", "open", "open", "dome", "globe"), radius * rng.uniform(0.5, 0.9)
    if style == "globe":
        return sphere(0.8 * radius).moved(y=height / 2)
    if style == "dome":
        return revolved(
            [(0.0, 0.0), *[(radius * c, height * s) for c, s in arc(0.0, np.pi / 2, 6)[:-1]], (0.0, height)]
        )
    if style == "drum":
        return cone(radius, top, height)
    hollow = [(0.0, height - 0.13), (top - 0.14, height - 0.13), (radius - 0.14, 0.0)]
    return revolved([*hollow, (radius, 0.0), (top, height), (0.0, height)])


def _foot(rng: Rng, radius: float) -> Solid:
    """A base standing on y = 0: a disc, a low cone or three feet."""
    style = pick(rng, "disc", "cone", "feet")
    if style == "feet":
        return spokes(3, radius, 0.06).moved(y=0.06)
    return cylinder(radius, 0.12).moved(y=0.06) if style == "disc" else cone(radius, 0.08, rng.uniform(0.2, 0.3))


def _body_lamp(rng: Rng) -> list[Solid]:
    tall, belly, at = rng.uniform(0.75, 1.0), rng.uniform(0.18, 0.36), rng.uniform(0.25, 0.75)
    y = np.linspace(0.0, 1.0, 8)
    x = 0.075 + (belly - 0.075) * np.exp(-(((y - at) / rng.uniform(0.25, 0.4)) ** 2))
    x[0] = max(x[0], rng.uniform(0.16, 0.3))
    body = revolved([(0.0, 0.0), *zip(x.tolist(), (y * tall).tolist(), strict=True), (0.0, tall)])
    radius, height = belly + rng.uniform(0.15, 0.3), rng.uniform(0.45, 0.65)
    pole = cylinder(0.065, 0.2 + height).moved(y=tall + height / 2 - 0.1)
    return [body, pole, _shade(rng, radius, height).moved(y=tall + 0.05)]


def _floor_lamp(rng: Rng) -> list[Solid]:
    radius, height = rng.uniform(0.28, 0.42), rng.uniform(0.35, 0.5)
    pole = cylinder(rng.uniform(0.055, 0.07), 1.2 + height).moved(y=0.6 + height / 2)
    return [_foot(rng, radius * rng.uniform(0.8, 1.0)), pole, _shade(rng, radius, height).moved(y=1.25)]


def _arc_lamp(rng: Rng) -> list[Solid]:
    reach, rise, tall = rng.uniform(0.7, 1.0), rng.uniform(0.4, 0.6), rng.uniform(0.8, 1.0)
    bow = [(reach / 2 * (1.0 - c), tall + rise * s, 0.0) for c, s in arc(0.0, 0.9 * np.pi, 9)]
    head = _shade(rng, rng.uniform(0.26, 0.34), 0.3).moved(bow[-1][0], bow[-1][1] - 0.26)
    return [_foot(rng, rng.uniform(0.28, 0.36)).moved(0.1), tube([(0.0, 0.06, 0.0), *bow], 0.055), head]


def _desk_lamp(rng: Rng) -> list[Solid]:
    elbow = (-rng.uniform(0.3, 0.55), rng.uniform(0.65, 0.85), 0.0)
    wrist = (rng.uniform(0.3, 0.6), elbow[1] + rng.uniform(0.2, 0.5), 0.0)
    head = cone(rng.uniform(0.28, 0.36), 0.12, rng.uniform(0.36, 0.48)).moved(y=-0.36).turned("z", rng.uniform(5, 45))
    base = cylinder(rng.uniform(0.34, 0.44), 0.13).moved(y=0.065)
    return [base, tube([(0.0, 0.06, 0.0), elbow, wrist], 0.06), sphere(0.09).moved(*elbow), head.moved(*wrist)]
