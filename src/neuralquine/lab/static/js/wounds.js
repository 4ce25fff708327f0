// Damage and generations: the stored weights are overwritten, then what is printed is installed again and again.

import { get, post } from "./api.js";
import { logChart } from "./chart.js";
import { build, fill, mark } from "./heat.js";
import { $, bench, guarded, make, onQuine, repaint } from "./page.js";
import { fate } from "./plots.js";

const RUN = 40, PAUSE = 120;
let stroke = [], going = false;

export function openWounds(hello) {
  $("wound-kind").replaceChildren(...hello.damages.map(({ name, label }) => make("option", { value: name, textContent: label })));
  onQuine(show);
  repaint(draw);
  $("share").addEventListener("input", shares);
  $("brush").addEventListener("input", () => {
    $("brush-shown").textContent = `${$("brush").value} cell${$("brush").value === "1" ? "" : "s"}`;
  });
  $("wound-form").addEventListener("submit", guarded(wound));
  $("paint").addEventListener("click", paint);
  $("next").addEventListener("click", guarded(() => send("generations", { count: 1 })));
  $("run").addEventListener("click", guarded(run));
  $("reset").addEventListener("click", guarded(() => send("reset", {})));
  $("maps").addEventListener("stroke", guarded(painted));
}

// Resolved once the weights of the quine on the bench are on the page.
let arrived = Promise.resolve();
export const shown = () => arrived;

function show(quine) {
  arrived = arrive(quine);
  return arrived;
}

async function arrive(quine) {
  going = false;
  const { view } = quine.view ? quine : await get(`/api/quines/${quine.id}`);
  if (bench.quine.id !== quine.id) return;
  $("wounds").hidden = false;
  $("wounds").dataset.quine = quine.id;
  const everywhere = make("option", { value: "", textContent: "all layers" });
  $("wound-layer").replaceChildren(
    everywhere,
    ...view.layers.map((layer, i) => make("option", { value: i, textContent: layer.name })),
  );
  stroke = view.layers.map(() => new Map());
  bench.view = view;
  const { spectral_radius, bit_exact, is_quine } = quine.verification;
  $("fate").textContent = is_quine ? fate(spectral_radius, bit_exact) : "";
  build($("maps"), view.layers, brush);
  draw();
}

function draw() {
  const { view } = bench;
  if (!view) return;
  fill($("maps"), view.layers);
  const points = view.line.map(({ distance }, generation) => [generation, distance]);
  logChart($("line-chart"), points, { floor: view.round_off, xName: "generation" });
  $("line-status").textContent = view.sentence;
  $("line-status").className = { healed: "good", whole: "", drift: "", damaged: "" }[view.verdict] ?? "bad";
  document.dispatchEvent(new CustomEvent("view"));
}

export async function send(what, body) {
  const { id } = bench.quine;
  const view = await post(`/api/quines/${id}/${what}`, body);
  if (bench.quine.id !== id) return;
  bench.view = view;
  draw();
}

function shares() {
  $("share-shown").textContent = `${$("share").value} %`;
  $("wound").textContent = `Damage ${$("share").value} %`;
}

async function wound() {
  going = false;
  const layer = $("wound-layer").value;
  await send("damage", {
    kind: $("wound-kind").value,
    share: $("share").value / 100,
    ...(layer === "" ? {} : { layer: Number(layer) }),
  });
}

function paint() {
  const on = $("maps").classList.toggle("painting");
  $("paint").setAttribute("aria-pressed", String(on));
  $("brush-row").hidden = !on;
}

function brush(index, row, column) {
  const layer = bench.view.layers[index], reach = ($("brush").value - 1) / 2;
  for (let r = row - reach; r <= row + reach; r++)
    for (let c = column - reach; c <= column + reach; c++)
      if (r >= 0 && c >= 0 && r < layer.rows && c < layer.columns) {
        stroke[index].set(r * layer.columns + c, [r, c]);
        mark($("maps"), index, r, c, layer);
      }
}

async function painted() {
  const cells = stroke.map((layer) => [...layer.values()]);
  stroke.forEach((layer) => layer.clear());
  if (cells.some((layer) => layer.length)) await send("damage", { kind: $("wound-kind").value, cells });
}

export async function run() {
  going = !going;
  $("run").setAttribute("aria-pressed", String(going));
  $("run").textContent = going ? "Stop" : `Run ${RUN}`;
  try {
    for (let count = 0; going && count < RUN; count++) {
      const before = bench.view.line.length;
      await send("generations", { count: 1 });
      const { line, verdict } = bench.view;
      if (line.length === before || ["healed", "other"].includes(verdict)) break; // it has settled
      await new Promise((resume) => setTimeout(resume, PAUSE));
    }
  } finally {
    going = false;
    $("run").setAttribute("aria-pressed", "false");
    $("run").textContent = `Run ${RUN}`;
  }
}
