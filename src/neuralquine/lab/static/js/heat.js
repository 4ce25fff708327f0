// Heat maps of every layer: stored, printed, difference; one cell of a canvas is one weight, or the strongest of a block.

import { color, make, number, whole } from "./page.js";

const BLUE = [43, 106, 153], RED = [179, 63, 30], EXACT = [116, 196, 118], NAN = [214, 51, 214];

const numbers = (text) => new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);

function shade(value, limit, middle, exact) {
  if (Number.isNaN(value)) return NAN;
  if (exact && value === 0) return EXACT;
  const share = limit > 0 ? Math.max(-1, Math.min(1, value / limit)) : 0;
  const end = share < 0 ? BLUE : RED;
  const weight = Math.sqrt(Math.abs(share)); // small weights are seen too
  return middle.map((m, i) => m + (end[i] - m) * weight);
}

function draw(canvas, layer, key) {
  canvas.width = layer.columns;
  canvas.height = layer.rows;
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(layer.columns, layer.rows);
  const middle = color("middle").split(",").map(Number);
  const difference = key === "difference";
  const limit = difference ? layer.largest ?? 1 : layer.limit;
  numbers(layer[key]).forEach((value, i) => {
    const [r, g, b] = shade(value, limit, middle, difference);
    image.data.set([r, g, b, 255], 4 * i);
  });
  pen.putImageData(image, 0, 0);
}

function gap(layer) {
  if (layer.differing === 0) return "difference: exactly 0";
  const size = layer.largest === null ? "not finite" : `≤ ${layer.largest.toExponential(0)}`;
  return `difference ${size}`;
}

// Figures, once for each quine; painted() is called with the cell under the pointer.
export function build(place, layers, painted) {
  place.replaceChildren(
    ...layers.map((layer, index) => {
      const canvases = ["stored", "printed", "difference"].map((key) => {
        const canvas = make("canvas", { className: "map" });
        canvas.dataset.key = key;
        canvas.setAttribute("role", "img");
        if (layer.rows === 1) canvas.classList.add("strip");
        if (key === "stored") watch(canvas, layer, (row, column) => painted(index, row, column));
        return make("div", {}, make("span", { className: "what", textContent: key }), canvas);
      });
      const caption = make("figcaption");
      return make("figure", {}, caption, make("div", { className: "maps" }, ...canvases));
    }),
  );
}

export function fill(place, layers) {
  [...place.children].forEach((figure, index) => {
    const layer = layers[index];
    const [down, across] = layer.block;
    const block = down * across > 1 ? `, each cell the strongest of ${down} × ${across}` : "";
    figure.firstChild.replaceChildren(
      make("b", { textContent: layer.name }),
      ` ${layer.shape.join(" × ")}${block}: ${whole(layer.differing)} of ${whole(layer.count)} printed differently`,
    );
    for (const canvas of figure.querySelectorAll("canvas")) {
      const key = canvas.dataset.key;
      draw(canvas, layer, key);
      const words = key === "difference" ? gap(layer) : `${key}, largest color at ±${number(layer.limit)}`;
      canvas.setAttribute("aria-label", `${layer.name} ${words}`);
      if (key === "difference") canvas.previousSibling.textContent = words;
    }
  });
}

// A stroke is shown at once; the server answers when it ends.
export function mark(place, index, row, column, layer) {
  const pen = place.children[index].querySelector("canvas").getContext("2d");
  pen.fillStyle = color("accent");
  if (row < layer.rows && column < layer.columns) pen.fillRect(column, row, 1, 1);
}

function watch(canvas, layer, cell) {
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * layer.columns);
    const row = Math.floor(((event.clientY - box.top) / box.height) * layer.rows);
    if (row >= 0 && column >= 0 && row < layer.rows && column < layer.columns) cell(row, column);
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
