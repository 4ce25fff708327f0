// made by `make play` from src/neuralquine/lab/static/js/plots.js: do not edit
"use strict";

const Plots = (() => {
// Points in a plane, drawn: the eigenvalues of a map, and the zoo of a network. Axes and scales have names.

const { make, number, svg, whole } = Page;

const SIZE = 320, EDGE = 28; // of the eigenvalues
const WIDTH = 640, HEIGHT = 380, LEFT = 34, BELOW = 30, REST = 22; // of the zoo

const text = (words, attributes) => svg("text", attributes, document.createTextNode(words));

// The largest of 1, 2 and 5 times a power of ten that leaves at least two ticks up to the edge.
function tick(reach) {
  const power = 10 ** Math.floor(Math.log10(reach / 2));
  return [5, 2, 1].map((n) => n * power).find((step) => 2 * step <= reach);
}

// Eigenvalues [re, im] with the unit circle; `words` says the same to those who do not see it.
function spectrumPlot(values, words) {
  const reach = 1.15 * Math.max(1, ...values.flat().map(Math.abs));
  const half = SIZE / 2 - EDGE, middle = SIZE / 2;
  const at = (v) => middle + (v / reach) * half;
  const step = reach < 4 ? 1 : tick(reach);
  const marks = [];
  for (let v = step; v <= reach; v += step) marks.push(v, -v);
  if (!marks.includes(1) && half / reach > 9) marks.push(1);
  const ticks = marks.flatMap((v) => {
    const [words, p, q] = [number(v).replace("-", "−"), at(v), at(-v)];
    return [
      svg("line", { class: "tick", x1: p, x2: p, y1: middle - 3, y2: middle + 3 }),
      svg("line", { class: "tick", y1: q, y2: q, x1: middle - 3, x2: middle + 3 }),
      text(words, { class: "tick-name", x: p, y: middle + 15, "text-anchor": "middle" }),
      ...(v === 1 && step > 1 ? [] : [text(`${words}i`, { class: "tick-name", x: middle - 6, y: q + 4, "text-anchor": "end" })]),
    ];
  });
  return svg(
    "svg",
    { viewBox: `0 0 ${SIZE} ${SIZE}`, role: "img", "aria-label": `Eigenvalues in the complex plane: ${words}` },
    svg("line", { class: "axis", x1: EDGE / 2, x2: SIZE - EDGE / 2, y1: middle, y2: middle }),
    svg("line", { class: "axis", y1: EDGE / 2, y2: SIZE - EDGE / 2, x1: middle, x2: middle }),
    svg("circle", { class: "unit", cx: middle, cy: middle, r: at(1) - middle }),
    ...ticks,
    text("real part", { class: "axis-name", x: SIZE - 4, y: middle - 8, "text-anchor": "end" }),
    text("imaginary part", { class: "axis-name", x: middle + 8, y: 12 }),
    ...values.map(([re, im]) => {
      const inside = Math.hypot(re, im) < 1;
      const name = `${number(re)} ${im < 0 ? "−" : "+"} ${number(Math.abs(im))}i, modulus ${number(Math.hypot(re, im))}`;
      const dot = { class: inside ? "inside" : "outside", cx: at(re), cy: at(-im), r: 4 };
      return svg("circle", dot, svg("title", {}, document.createTextNode(name)));
    }),
  );
}

// The quines {at, spectral_radius, self_sensitivity} of a zoo; `choose` is called with the number of one, and `own` is
// where the quine on the bench stands.
function zooPlot(quines, own, choose) {
  const radii = quines.map((q) => Math.log(q.spectral_radius || 1));
  const low = Math.min(...radii), high = Math.max(...radii);
  const place = ([x, y]) => [
    LEFT + REST + ((x + 1) / 2) * (WIDTH - LEFT - 2 * REST), REST + ((1 - y) / 2) * (HEIGHT - BELOW - 2 * REST),
  ];
  const line = make("p", { className: "about zoo-line", textContent: "Point at one, or walk with the arrow keys; enter puts it on the bench." });
  line.setAttribute("role", "status");
  const points = quines.map((q, i) => {
    const [cx, cy] = place(q.at);
    const share = high > low ? (radii[i] - low) / (high - low) : 0;
    const sensitivity = q.self_sensitivity === undefined ? "" : `, self-sensitivity ${number(q.self_sensitivity)}`;
    const words = `Quine ${i + 1} of ${quines.length}: spectral radius ${number(q.spectral_radius)}${q.spectral_radius < 1 ? ", attracts" : ", repels"}${sensitivity}`;
    const point = svg("circle", { cx, cy, r: 9, role: "button", tabindex: i ? -1 : 0, "aria-label": words });
    point.style.fill = `color-mix(in oklch, var(--cool), var(--accent) ${Math.round(100 * share)}%)`;
    const chosen = async () => {
      await choose(i);
      points.forEach((p) => p.classList.toggle("chosen", p === point));
    };
    for (const event of ["pointerenter", "focus"]) point.addEventListener(event, () => (line.textContent = words));
    point.addEventListener("click", chosen);
    point.addEventListener("keydown", (event) => {
      const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (move) {
        event.preventDefault();
        const next = points[(i + move + points.length) % points.length];
        points.forEach((p) => p.setAttribute("tabindex", p === next ? 0 : -1));
        next.focus();
      } else if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        chosen();
      }
    });
    return point;
  });
  const [ox, oy] = own ? place(own) : [0, 0];
  const ring = own ? [svg("circle", { class: "own", cx: ox, cy: oy, r: 14 })] : [];
  const bottom = HEIGHT - BELOW;
  return [
    svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": "The quines of this network by their codes; arrow keys move, enter chooses" },
      svg("rect", { class: "field", x: LEFT, y: 4, width: WIDTH - LEFT - 4, height: bottom - 4, rx: 8 }),
      text("first principal axis of the codes", { class: "axis-name", x: (LEFT + WIDTH) / 2, y: HEIGHT - 9, "text-anchor": "middle" }),
      text("second", { class: "axis-name", transform: `translate(20 ${bottom / 2}) rotate(-90)`, "text-anchor": "middle" }),
      ...ring,
      ...points,
    ),
    line,
    make("p", { className: "scale" }, "spectral radius ", `${number(Math.exp(low))} `, make("span", { className: "ramp" }), ` ${number(Math.exp(high))}`, own ? "; the ring is the one on the bench" : ""),
  ];
}

// In words what the eigenvalues say of damage.
function fate(radius, exact) {
  if (radius === null || radius === undefined || Number.isNaN(radius)) return "";
  if (radius < 1) return `It attracts (spectral radius ${number(radius)}): small damage fades from generation to generation, so it can heal.`;
  const kept = exact ? "Undamaged, it prints every bit again for ever. But it" : "It";
  return `${kept} repels (spectral radius ${number(radius)}): damage grows from generation to generation, and it will not heal.`;
}

const spectrumWords = (values) => {
  const inside = values.filter(([re, im]) => Math.hypot(re, im) < 1).length;
  return `${whole(values.length)} eigenvalues, ${inside} inside the unit circle and ${values.length - inside} outside.`;
};

return { spectrumPlot, zooPlot, fate, spectrumWords };
})();
