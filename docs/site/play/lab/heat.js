// made by `make play` from src/neuralquine/lab/static/js/heat.js: do not edit
"use strict";

const Heat = (() => {
// Heat maps of every layer: stored, printed, difference; one cell of a canvas is one weight, or the strongest of a block.

const { color, make, number, whole } = Page;

const KEYS = ["stored", "printed", "difference"];
const SHOWN = 4; // digits of a value under the pointer

// A layer's cells: an array, or base64 of little-endian float32 as the server sends them.
const numbers = (cells) =>
  typeof cells === "string" ? new Float32Array(Uint8Array.from(atob(cells), (c) => c.charCodeAt(0)).buffer) : cells;
const triple = (name) => color(name).split(",").map(Number);
const palette = () => Object.fromEntries(["low", "middle", "high", "same", "nan"].map((name) => [name, triple(`map-${name}`)]));

function shade(value, limit, colors, exact) {
  if (Number.isNaN(value)) return colors.nan;
  if (exact && value === 0) return colors.same;
  const share = limit > 0 ? Math.max(-1, Math.min(1, value / limit)) : 0;
  const end = share < 0 ? colors.low : colors.high;
  const weight = Math.sqrt(Math.abs(share)); // small weights are seen too
  return colors.middle.map((m, i) => m + (end[i] - m) * weight);
}

function draw(canvas, layer, key) {
  canvas.width = layer.columns;
  canvas.height = layer.rows;
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(layer.columns, layer.rows);
  const difference = key === "difference", colors = palette();
  const limit = difference ? layer.largest ?? 1 : layer.limit;
  numbers(layer[key]).forEach((value, i) => {
    const [r, g, b] = shade(value, limit, colors, difference);
    image.data.set([r, g, b, 255], 4 * i);
  });
  pen.putImageData(image, 0, 0);
}

// A bound is rounded up, or it would not be one.
function atMost(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return `${Math.ceil((value / power) * (1 - 1e-12))}e${Math.round(Math.log10(power))}`.replace(/^10e(.*)/, (_, p) => `1e${Number(p) + 1}`);
}

function gap(layer) {
  if (layer.differing === 0) return "difference exactly 0";
  return `difference ${layer.largest === null ? "not finite" : layer.largest === 0 ? "only of signs of 0" : `at most ${atMost(layer.largest)}`}`;
}

// Figures, once for each quine; painted() is called with the cell under the pointer.
function build(place, layers, painted) {
  place.replaceChildren(
    ...layers.map((layer, index) => {
      const canvases = KEYS.map((key) => {
        const canvas = make("canvas", { className: "map" });
        canvas.dataset.key = key;
        canvas.setAttribute("role", "img");
        if (layer.rows === 1) canvas.classList.add("strip");
        if (key === "stored") {
          canvas.tabIndex = 0;
          watch(canvas, layer, (row, column) => painted(index, row, column));
        }
        return make("div", {}, make("span", { className: "what", textContent: key }), canvas);
      });
      const figure = make("figure", {}, make("figcaption"), make("div", { className: "maps" }, ...canvases), foot());
      read(figure, layer);
      return figure;
    }),
  );
}

function foot() {
  const value = make("span", { className: "value" });
  value.setAttribute("role", "status");
  const scale = make("span", { className: "colors" }, make("span"), make("span", { className: "bipolar" }), make("span"));
  return make("p", { className: "foot" }, scale, make("span", { className: "gap" }), value);
}

function fill(place, layers) {
  [...place.children].forEach((figure, index) => {
    const layer = layers[index];
    figure.layer = layer;
    const [down, across] = layer.block;
    const block = down * across > 1 ? `, each cell the strongest of ${down} × ${across}` : "";
    figure.firstChild.replaceChildren(
      make("b", { textContent: layer.name }),
      ` ${layer.shape.join(" × ")}${block}: ${whole(layer.differing)} of ${whole(layer.count)} printed differently`,
    );
    const [low, , high] = figure.querySelector(".colors").children;
    [low.textContent, high.textContent] = [`−${number(layer.limit)}`, `+${number(layer.limit)}`];
    figure.querySelector(".gap").textContent = gap(layer);
    for (const canvas of figure.querySelectorAll("canvas")) {
      const key = canvas.dataset.key;
      draw(canvas, layer, key);
      const words = key === "difference" ? gap(layer) : `${key}, largest color at ±${number(layer.limit)}`;
      const keys = key === "stored" ? "; arrow keys read single weights" : "";
      canvas.setAttribute("aria-label", `${layer.name} ${words}${keys}`);
    }
    tell(figure);
  });
}

// A stroke is shown at once; the server answers when it ends.
function mark(place, index, row, column, layer) {
  const pen = place.children[index].querySelector("canvas").getContext("2d");
  pen.fillStyle = color("accent");
  if (row < layer.rows && column < layer.columns) pen.fillRect(column, row, 1, 1);
}

// -- single weights, under the pointer or by the arrow keys -----------------------------------------------------------

function read(figure, { rows, columns }) {
  const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  for (const canvas of figure.querySelectorAll("canvas")) {
    canvas.addEventListener("pointermove", (event) => tell(figure, under(canvas, event, rows, columns)));
    canvas.addEventListener("pointerleave", () => tell(figure, null));
  }
  const stored = figure.querySelector("canvas");
  stored.addEventListener("focus", () => stored.matches(":focus-visible") && tell(figure, figure.cell ?? [0, 0]));
  stored.addEventListener("blur", () => tell(figure, null));
  stored.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    const [row, column] = figure.cell ?? [0, 0];
    const inside = (v, most) => Math.max(0, Math.min(most - 1, v));
    tell(figure, [inside(row + step[0], rows), inside(column + step[1], columns)]);
  });
}

function under(canvas, event, rows, columns) {
  const box = canvas.getBoundingClientRect();
  const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
  const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
  return row >= 0 && column >= 0 && row < rows && column < columns ? [row, column] : null;
}

function tell(figure, cell = figure.cell) {
  figure.cell = cell;
  const { layer } = figure, line = figure.querySelector(".value");
  if (!cell || !layer) return (line.textContent = "");
  const [row, column] = cell, [stored, printed, difference] = KEYS.map((key) => numbers(layer[key])[row * layer.columns + column]);
  const place = layer.rows === 1 ? `${column + 1}` : `row ${row + 1}, column ${column + 1}`;
  line.textContent =
    `${place}: stored ${number(stored, SHOWN)}, printed ${number(printed, SHOWN)}, ` +
    `difference ${difference === 0 ? "exactly 0" : number(difference, 2)}`;
}

function watch(canvas, layer, cell) {
  const at = (event) => {
    const found = under(canvas, event, layer.rows, layer.columns);
    if (found) cell(...found);
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (!canvas.closest(".painting")) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    at(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    for (const part of event.getCoalescedEvents?.() ?? [event]) at(part);
  });
  for (const end of ["pointerup", "pointercancel"])
    canvas.addEventListener(end, () => canvas.dispatchEvent(new CustomEvent("stroke", { bubbles: true })));
}

return { atMost, build, fill, mark };
})();
