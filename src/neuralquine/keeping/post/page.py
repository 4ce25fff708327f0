"""One HTML page of a story: everything is inside it, and it asks for nothing from anywhere."""

from __future__ import annotations

from html import escape
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...quines.bits import differing
from ...solving.course import FALLS, OSCILLATES, STALLS, WANDERS, course
from ...version import __version__
from .chart import Line, best_so_far, chart
from .heat import heat
from .run import Pair, Story

_LAYERS = ((8, 20), (20, 20), (20, 20))  # inputs and outputs of the post's three layers, each with a bias
_FLOOR = 9e-15  # relative residual that counts as round-off in float64: 40 units
_SQUARED = "loss ‖F(θ) − θ‖²"
_RELATIVE = "relative residual ‖F(θ) − θ‖ / ‖θ‖"
_WORDS = {
    FALLS: "is still falling when it is stopped",
    STALLS: "stays level",
    OSCILLATES: "oscillates from step to step",
    WANDERS: "wanders",
    "": "is too short to say more of",
}


def page(story: Story) -> str:
    """The page as text."""
    chapters = (_network, _part1, _newton, _normalization, _loop, _meant, _ours, _exact, _proof)
    body = "".join(f"<section>{chapter(story)}</section>" for chapter in chapters)
    style = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>The post, from start to end</title><style>{style}</style></head><body>"
        f"{_head(story)}<main>{body}</main>{_foot(story)}</body></html>\n"
    )


def figure(value: float) -> str:
    """A number as a reader wants it: two or three digits, a power of ten where it is needed."""
    if not np.isfinite(value):
        return "not a number"
    if value == 0 or 1e-2 <= abs(value) < 1e5:
        return f"{value:.3g}"
    mantissa, power = f"{value:.1e}".split("e")
    return f"{mantissa}·10<sup>{int(power)}</sup>".replace("-", "−")


def _head(story: Story) -> str:
    loop, (ours, _), (exact, _) = story.curves["loop"], story.ours, story.exact
    cards = [
        ("", figure(story.last.figures.relative_residual), f"the post's loop, last of {loop.steps:,} steps, relative"),
        ("", figure(story.best.figures.relative_residual), "the best weights that it passed by"),
        (
            "good" if ours.converged else "",
            figure(ours.relative_residual),
            f"a search on 20 numbers, {ours.seconds:.2g} s",
        ),
        (
            "good" if exact.converged else "",
            "0" if exact.bit_exact else figure(exact.relative_residual),
            f"the same, every bit, {exact.seconds:.2g} s",
        ),
    ]
    items = "".join(
        f'<li class="{kind}"><b>{value}</b><span>{escape(words)}</span></li>' for kind, value, words in cards
    )
    return (
        "<header><h1>“I Fixed a Neural Network That’s Supposed to Print Its Own Weights”, run from start to end</h1>"
        "<p>A network of 1,020 weights is to print exactly these weights. Every figure and every picture below was "
        f"computed by one run of <code>neuralquine post</code> (seed {story.plan.seed}): the post’s own network, its "
        "own loop and its own losses first, then what was really happening, then a quine.</p>"
        f'<ul class="cards">{items}</ul></header>'
    )


def _network(story: Story) -> str:
    return (
        "<h2>The network</h2><p>Three layers, 8–20–20–20, tanh, and a fixed random matrix that turns the last 20 numbers "
        "into 1,020: as many as the network has weights and biases. Asked with one fixed probe <code>z</code> of 8 numbers, "
        "it should print its own weights: <code>F(θ) = θ</code>.</p>"
        "<pre><code>def forward(self, z):\n    x = norm(tanh(self.l1(z)))      # norm: instance normalization, in part 2 only\n"
        "    x = norm(tanh(self.l2(x)))\n    x = norm(tanh(self.l3(x)))\n    return 0.25 * (x @ self.proj)   # proj: 20 × 1020, "
        "fixed</code></pre><p>The post plots the loss <code>‖F(θ) − θ‖²</code>. Beside it stands here the relative residual "
        "<code>‖F(θ) − θ‖ / ‖θ‖</code>, which does not become small because the weights do: 1 means that what is printed is "
        "as wrong as printing nothing.</p>"
    )


def _part1(story: Story) -> str:
    curve, zero = story.curves["newton-zero"], story.zero
    steps = range(len(curve.squared))
    squared, relative, sizes = curve.squared.tolist(), curve.relative.tolist(), curve.sizes.tolist()
    rows = "".join(
        f'<tr><td class="n">{k}</td><td class="n">{figure(squared[k])}</td><td class="n">{figure(relative[k])}</td>'
        f'<td class="n">{figure(sizes[k] / 1020**0.5)}</td></tr>'
        for k in steps[:6]
    )
    seen = next((k for k in steps if squared[k] < 1e-8), steps[-1])
    return (
        "<h2>Part 1: the zero quine<small>Newton’s method on 1,020 equations, without normalization</small></h2>"
        f"<p>After {seen} steps the loss is {figure(squared[seen])}, and after {steps[-1]} it is "
        f"{figure(squared[-1])}. A success, says the loss. But the weights have gone to zero, where "
        "<code>F(0) = 0</code> holds for any such network, and relative to them what is printed is as wrong as ever.</p>"
        '<div class="scroll"><table><tr><th class="n">step</th><th class="n">loss</th><th class="n">relative residual</th>'
        f'<th class="n">RMS weight</th></tr>{rows}</table></div>'
        + _heats(
            zero, float(story.initial.abs().max()), "All three on the color scale of the initial weights", same=True
        )
        + f"<p>The post would have reported a loss of {figure(zero.figures.squared_residual)}. On the scale of the weights "
        "that the search began with there is nothing to see: the quine is zero.</p>"
    )


def _newton(story: Story) -> str:
    curve = story.curves["newton"]
    steps, relative = np.arange(len(curve.squared)), curve.relative
    how = course(relative.tolist(), _FLOOR)
    return (
        f"<h2>Newton, with normalization<small>the P × P matrix again, {steps[-1]} whole steps</small></h2>"
        f"<p>“That’s why we see unstable losses using this method”: the residual {_WORDS[how]}, between "
        f"{figure(relative.min())} and {figure(relative.max())}. A whole step of Newton is right near a solution and "
        "overshoots far from one, and nothing here makes it shorter.</p>"
        + chart(
            [
                Line("current iterate", "now", steps, relative),
                Line("best so far", "best", steps, best_so_far(relative), stairs=True),
            ],
            x_name="step",
            y_name=_RELATIVE,
        )
        + "<p>Each of these steps took 1,020 derivatives. The printer has rank 20, so the same step needs only 20 of them; "
        "and with the step halved until the residual falls, Newton does find quines of this network.</p>"
    )


def _normalization(story: Story) -> str:
    bare, normal = story.radius_bare, story.radius_normalized
    return (
        "<h2>Why normalization avoids zero</h2>"
        f"<p>Near zero the map multiplies small weights by its derivative there. Its largest eigenvalue is {bare:.3g} without "
        f"normalization: weights shrink at every printing, and zero attracts. With it, it is {normal:.3g}: the slightest "
        f"weights are blown up, and zero repels. The ratio is {normal / bare:.0f}, and "
        "1/√ε = 316 for the ε = 10<sup>−5</sup> of the normalization, as the post’s own Jacobian says.</p>"
        '<pre><code>for name in ("blog-part1", "blog"):\n    quine = nq.recipe(name)\n'
        "    print(nq.spectrum(quine, 0 * quine.theta).spectral_radius)</code></pre>"
        "<p>The post’s conclusion is right, its reason is not: the gradient of its loop never passes through the "
        "normalization at all.</p>"
    )


def _loop(story: Story) -> str:
    curve, last, best = story.curves["loop"], story.last.figures, story.best.figures
    how = course(curve.relative.tolist(), _FLOOR)
    rows = (("last, kept", last), ("best", best))
    table = "".join(
        f'<tr><td>{name}</td><td class="n">{figure(m.squared_residual)}</td><td class="n">{figure(m.relative_residual)}</td>'
        f'<td class="n">{figure(m.max_abs_residual)}</td><td class="n">{figure(m.weight_rms)}</td></tr>'
        for name, m in rows
    )
    return (
        f"<h2>Part 2: the loop<small>RMSprop, lr = 10<sup>−3</sup>, {curve.steps:,} steps, every one of them drawn</small></h2>"
        "<pre><code>set_params(model, theta)              # under no_grad: p.copy_(theta[...])\n"
        "pred = model(input_probe).view(-1)\nloss = torch.norm(pred - theta) ** 2\n"
        "loss.backward()                       # reaches theta only through “- theta”</code></pre>"
        + _curve(story, "loop")
        + f"<p>At its end the loop {_WORDS[how]}. It is no gradient descent: <code>copy_</code> cuts the network off, so a "
        "step moves <code>θ</code> toward what was printed, and nothing promises that the loss falls. The post keeps the "
        "last iterate.</p>"
        '<div class="scroll"><table><tr><th>iterate</th><th class="n">loss</th><th class="n">relative</th>'
        f'<th class="n">largest difference</th><th class="n">RMS weight</th></tr>{table}</table></div>'
        + _heats(story.last, _scale(story.last), "The last iterate, as in the post’s pictures of its three layers")
    )


def _meant(story: Story) -> str:
    curve = story.curves["meant"]
    how, lowest = course(curve.relative.tolist(), _FLOOR), int(curve.relative.argmin())
    return (
        f"<h2>The loop as it was meant<small>the gradient passes through the network, {curve.steps:,} steps</small></h2>"
        "<p>Differentiated for real, the same loss descends on <code>2 (J − 1)ᵀ (F(θ) − θ)</code>.</p>"
        + _curve(story, "meant")
        + f"<p>It {_WORDS[how]}, at a relative residual of {figure(curve.relative[-1])}; its best, "
        f"{figure(curve.relative[lowest])}, came at step {lowest:,}. RMS weight: {figure(curve.sizes[0] / 1020**0.5)} at "
        f"the start, {figure(curve.sizes[-1] / 1020**0.5)} at the end. A fixed learning rate of 10<sup>−3</sup> leaves "
        "the weights trembling, so round-off is out of reach.</p>"
    )


def _ours(story: Story) -> str:
    solution, pair = story.ours
    loop, trace = story.curves["loop"], solution.trace
    x = np.arange(1, len(loop.squared) + 1)
    found = [(p.map_evaluations, p.relative_residual) for p in trace] + [
        (solution.map_evaluations, solution.relative_residual)
    ]
    mine_x, mine_y = zip(*found, strict=True)
    verdict = "a quine to round-off" if solution.converged else "no quine"
    return (
        "<h2>The same network, solved<small>on the same axes as the post’s loop</small></h2>"
        "<p>All that is ever printed is the fixed matrix times 20 numbers. So there are 20 unknowns and not 1,020, and "
        f"a search among them from many starts ({escape(solution.method)}) finds {verdict}: {figure(solution.relative_residual)} after "
        f"{solution.map_evaluations:,} evaluations of the network and {solution.seconds:.2g} seconds.</p>"
        + chart(
            [
                Line("the post’s loop, current", "now", x, loop.relative),
                Line("the post’s loop, best so far", "best", x, best_so_far(loop.relative), stairs=True),
                Line("solve, best so far", "ours", mine_x, np.minimum.accumulate(mine_y), stairs=True),
            ],
            x_name="evaluations of the network",
            y_name=_RELATIVE,
            log_x=True,
            floor=_FLOOR,
        )
        + _heats(pair, _scale(pair), "Stored and printed differ in the last bits alone")
        + f"<p>{solution.differing_weights:,} of 1,020 weights differ from what is printed in some bit, the largest "
        f"difference is {figure(solution.max_abs_residual)}. “Something in the range of ±10⁻¹⁵ seems decent to me.”</p>"
        + f"<p>Its largest eigenvalue is {solution.spectral_radius:.3g}"
        + (
            ": printing repels here, so to print again and again leads away from it.</p>"
            if solution.spectral_radius > 1
            else ": printing attracts here.</p>"
        )
    )


def _exact(story: Story) -> str:
    solution, pair = story.exact
    words = (
        f"every one of its 1,020 weights equals what it prints in all 64 bits, found in {solution.seconds:.2g} seconds"
        if solution.bit_exact
        else f"none was found here with this seed: {escape(solution.sentence)}"
    )
    return (
        "<h2>Exactly 0<small>“almost impossible to get a perfect quine”</small></h2>"
        "<p>Round the 20 numbers to a grid, and printing becomes a function that does not change when its argument hardly "
        f"does. Then equality can hold exactly, and a lattice search looks for it: {words}.</p>"
        + _heats(pair, _scale(pair), "Green: a difference of exactly 0")
        + f'<p class="quiet">{escape(solution.detail)}</p>'
    )


def _proof(story: Story) -> str:
    proof = story.proof
    kind = ' class="claim"' if proof.holds else ""
    lead = (
        "Round-off is no proof: a small residual does not say that a fixed point is near. Interval arithmetic does, for real "
        "numbers instead of floating-point ones."
    )
    return f"<h2>The proof</h2><p>{lead}</p><p{kind}>{escape(proof.words)}</p>"


def _foot(story: Story) -> str:
    return (
        "<footer><p>Beside this page: <code>quine/</code> and <code>exact/</code>, to be checked with "
        "<code>neuralquine verify</code>; the curves step by step as <code>.safetensors</code>; <code>figures.json</code>. "
        f"neuralquine {escape(__version__)}, torch {escape(torch.__version__)}. The last digits, and where a loop that "
        "wanders ends, are this machine’s.</p></footer>"
    )


def _curve(story: Story, key: str) -> str:
    """The two charts of a loop: the loss that the post plots, and the relative residual."""
    curve = story.curves[key]
    steps = np.arange(len(curve.squared))
    drawn = ""
    for name, values in ((_SQUARED, curve.squared), (_RELATIVE, curve.relative)):
        lines = [
            Line("current iterate, every step", "now", steps, values),
            Line("best so far", "best", steps, best_so_far(values), stairs=True),
        ]
        drawn += chart(lines, x_name="step", y_name=name)
    return drawn


def _scale(pair: Pair) -> float:
    """The color scale of weights: three times their root mean square, beyond which few lie."""
    return 3 * pair.figures.weight_rms


def _heats(pair: Pair, limit: float, words: str, *, same: bool = False) -> str:
    """The three layers: stored, printed, difference; one pixel for each weight, the bias as the last column.

    Args:
        pair: the weights.
        limit: the modulus of a weight that has the full color.
        words: the caption.
        same: show the difference on the scale of the weights, and not on its own.
    """
    gap = pair.printed - pair.theta
    zero = differing(pair.printed, pair.theta) == 0
    largest = float(gap.abs().max())
    cells = ""
    own = limit if same else largest or 1.0
    panels = ((pair.theta, limit, False), (pair.printed, limit, False), (gap.masked_fill(zero, 0.0), own, not same))
    drawn = [_matrices(values) for values, _, _ in panels]
    for k, (inputs, outputs) in enumerate(_LAYERS):
        cells += f"<i>layer {k + 1}<br>{outputs} × {inputs}</i>"
        for (_, bound, green), matrices in zip(panels, drawn, strict=True):
            light, dark = (heat(matrices[k], bound, theme, green=green) for theme in ("light", "dark"))
            shape = f'width="{matrices[k].shape[1]}" height="{matrices[k].shape[0]}"'
            width = f"{100 * matrices[k].shape[1] / max(m.shape[1] for m in matrices):.0f}%"  # all pixels are alike
            cells += (
                f'<picture><source srcset="{dark}" media="(prefers-color-scheme: dark)">'
                f'<img src="{light}" {shape} style="width: {width}" alt="layer {k + 1}"></picture>'
            )
    scale = f"±{figure(limit)}"
    finest = scale if same else "exactly 0" if largest == 0 else f"±{figure(largest)}"
    heads = (("weights", scale), ("printed", scale), ("difference", finest))
    top = "<span></span>" + "".join(f"<b>{name}<small>{bound}</small></b>" for name, bound in heads)
    return (
        f'<figure><div class="heats">{top}{cells}</div><figcaption>{escape(words)}. Blue is negative, red positive; the '
        "column that stands apart is the bias.</figcaption></figure>"
    )


def _matrices(theta: Tensor) -> list[np.ndarray]:
    """The layers as matrices: outputs down, inputs across, a gap, the bias."""
    numbers, made = theta.detach().double().cpu().numpy(), []
    for inputs, outputs in _LAYERS:
        weights, bias, numbers = np.split(numbers, [inputs * outputs, inputs * outputs + outputs])
        gap = np.full((outputs, 1), np.nan)
        made.append(np.hstack([weights.reshape(outputs, inputs), gap, bias[:, None]]))
    return made
