// The zoo: the other quines of the network on the bench, as points to choose from.

import { events, post } from "./api.js";
import { add } from "./search.js";
import { $, bench, guarded, number, onQuine, put, whole } from "./page.js";
import { zooPlot } from "./plots.js";

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
    `${quines.length} distinct quine${quines.length === 1 ? "" : "s"} from ${whole(starts)} starts in ${number(seconds)} s; ` +
    `${attracting} of them attract${attracting === 1 ? "s" : ""}${interrupted ? "; stopped early" : ""}.`;
  const choose = guarded(async (i) => {
    const quine = await post(`/api/quines/${parent}/zoo/${zoo}/${i}`);
    add(quine);
    put(quine);
  });
  $("zoo-plot").replaceChildren(...(quines.length ? zooPlot(quines, own, choose) : []));
}
