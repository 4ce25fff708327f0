// The zoo: the other quines of the network on the bench, as points to choose from.

import { events, post } from "./api.js";
import { add } from "./search.js";
import { $, bench, guarded, number, onQuine, put, svg, whole } from "./page.js";

const WIDTH = 640, HEIGHT = 360, EDGE = 24;
let network = "", job = null, past = null;

export function openZoo(hello) {
  const recipes = new Map(hello.quines.map((q) => [q.id, JSON.stringify(q.quine.recipe)]));
  const zoos = hello.jobs.filter((j) => j.task === "zoo" && recipes.has(j.quine));
  past = zoos.length ? { ...zoos.at(-1), recipe: recipes.get(zoos.at(-1).quine) } : null;
  onQuine(show);
  $("zoo-find").addEventListener("click", guarded(find));
  $("zoo-cancel").addEventListener("click", guarded(() => post(`/api/jobs/${job}/cancel`)));
}

function show(quine) {
  const recipe = JSON.stringify(quine.quine.recipe);
  $("zoo").hidden = !quine.quine.recipe.name || quine.quine.task;
  if (recipe === network) return;
  network = recipe;
  $("zoo-plot").replaceChildren();
  $("zoo-status").textContent = "";
  // A reload finds the zoo again, also one that is still being listed.
  if (past?.recipe === recipe) return watch(past.quine, past.id);
}

async function find() {
  const { id } = bench.quine;
  const made = await post(`/api/quines/${id}/zoo`, { starts: Number($("zoo-starts").value) });
  past = { ...made, recipe: network };
  await watch(id, made.id);
}

async function watch(parent, id) {
  const mine = network;
  job = id;
  $("zoo-find").disabled = true;
  $("zoo-cancel").hidden = false;
  $("zoo-status").textContent = "waiting for its turn";
  try {
    for await (const event of events(job)) {
      if (mine !== network) break;
      if (event.kind === "running") $("zoo-status").textContent = "looking from every starting point";
      if (event.kind === "point") $("zoo-status").textContent = `${event.found} found so far`;
      if (event.kind === "cancelled") $("zoo-status").textContent = "cancelled";
      if (event.kind === "failed") throw new Error(event.error);
      if (event.kind === "done") plot(parent, id, event.result);
    }
  } catch (error) {
    $("zoo-status").textContent = "";
    throw error;
  } finally {
    $("zoo-find").disabled = false;
    $("zoo-cancel").hidden = true;
  }
}

function plot(parent, zoo, { quines, own, starts, seconds, interrupted }) {
  const attracting = quines.filter((q) => q.spectral_radius < 1).length;
  $("zoo-status").textContent =
    `${quines.length} distinct quines from ${whole(starts)} starts in ${number(seconds)} s; ` +
    `${attracting} of them attract${interrupted ? "; stopped early" : ""}.`;
  const radii = quines.map((q) => Math.log(q.spectral_radius ?? 1));
  const low = Math.min(...radii), high = Math.max(...radii);
  const place = ([x, y]) => [EDGE + ((x + 1) / 2) * (WIDTH - 2 * EDGE), EDGE + ((1 - y) / 2) * (HEIGHT - 2 * EDGE)];
  const points = quines.map((q, i) => {
    const [cx, cy] = place(q.at);
    const share = high > low ? (radii[i] - low) / (high - low) : 0;
    const words = `Quine ${i + 1} of ${quines.length}: spectral radius ${number(q.spectral_radius)}, self-sensitivity ${number(q.self_sensitivity)}`;
    const point = svg("circle", { cx, cy, r: 9, role: "button", tabindex: i ? -1 : 0, "aria-label": words }, svg("title", {}, document.createTextNode(words)));
    point.style.fill = `color-mix(in oklab, var(--cool), var(--accent) ${Math.round(100 * share)}%)`;
    const choose = guarded(async () => {
      const quine = await post(`/api/quines/${parent}/zoo/${zoo}/${i}`);
      points.forEach((p) => p.classList.toggle("chosen", p === point));
      add(quine);
      put(quine);
    });
    point.addEventListener("click", choose);
    point.addEventListener("keydown", (event) => {
      const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (move) {
        event.preventDefault();
        const next = points[(i + move + points.length) % points.length];
        points.forEach((p) => p.setAttribute("tabindex", p === next ? 0 : -1));
        next.focus();
      } else if (event.key === "Enter" || event.key === " ") choose(event);
    });
    return point;
  });
  const [ox, oy] = place(own);
  const ring = svg("circle", { class: "own", cx: ox, cy: oy, r: 14 }, svg("title", {}, document.createTextNode("the one on the bench")));
  $("zoo-plot").replaceChildren(
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": "The quines of this network by their codes; arrow keys move, enter chooses" }, ring, ...points),
    scale(Math.exp(low), Math.exp(high)),
  );
}

function scale(low, high) {
  const element = document.createElement("p");
  element.className = "scale";
  element.append(`spectral radius ${number(low)} `, Object.assign(document.createElement("span"), { className: "ramp" }), ` ${number(high)}; the ring is the one on the bench`);
  return element;
}
