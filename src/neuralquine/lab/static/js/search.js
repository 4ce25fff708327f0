// The search: a form, a job on the server, its residual as it falls. A reload finds the job again.

import { events, get, post } from "./api.js";
import { logChart } from "./chart.js";
import { $, guarded, make, number, percent, put, repaint, trouble, whole } from "./page.js";

const NARROW = 860; // pixels, below which what was found stands under the form
let networks = [], methods = [], running = null, points = [], training = false, floor = 9e-15;

export async function openSearch(hello) {
  methods = hello.methods;
  networks = [...hello.networks, ...hello.works];
  const options = (group) => group.map((n) => make("option", { value: n.name, textContent: n.name }));
  $("network").replaceChildren(
    ...[["found by a search", hello.networks], ["trained for a task", hello.works]]
      .filter(([, group]) => group.length)
      .map(([label, group]) => make("optgroup", { label }, ...options(group))),
  );
  $("method").append(...methods.map((m) => make("option", { value: m.name, textContent: m.name })));
  $("network").disabled = $("solve").disabled = false;
  describe();
  $("network").addEventListener("change", describe);
  $("method").addEventListener("change", describe);
  $("search-form").addEventListener("submit", guarded(start));
  $("cancel").addEventListener("click", guarded(cancel));
  repaint(chart);
  list(hello.quines);
  const open = hello.jobs.filter((job) => job.task !== "prove" && job.task !== "zoo");
  const job = open.find((j) => ["running", "waiting"].includes(j.state)) ?? open.at(-1);
  if (hello.quines.length && !(job && ["running", "waiting"].includes(job.state))) put(hello.quines.at(-1));
  if (job) await guarded(() => follow(job, false))();
}

function describe() {
  const network = networks.find((n) => n.name === $("network").value);
  $("network-about").textContent = network.summary.replace(/\(P = ([\d,.]+)\)/, (_, count) => `(${whole(Number(count.replace(",", "")))} weights)`);
  if (network.work) $("method").value = "";
  $("method-about").textContent = network.work
    ? "It is trained on digits, and prints itself from the first step on: there is nothing to search."
    : (methods.find((m) => m.name === $("method").value)?.summary ?? "Tries the quick methods first and the thorough ones after them.");
  $("solve").textContent = network.work ? "Train" : "Solve";
  // What cannot be chosen says why, beside itself.
  const against = {
    exact: network.work
      ? "every task quine is"
      : network.queried
        ? "not here: it prints one weight at a time, and has no code to put on a grid"
        : $("method").value && "only with the default ladder",
    anchored: !network.anchors && (network.work ? "it attracts as it is" : "not here: this network is kept as it was published"),
  };
  for (const [id, about] of Object.entries({ exact: "on a grid of codes", anchored: "attracts, so it can heal" })) {
    $(id).disabled = Boolean(against[id]);
    if (against[id]) $(id).checked = false;
    $(`${id}-about`).textContent = against[id] || about;
  }
  $("method").disabled = $("time-limit").disabled = Boolean(network.work);
}

export const idle = () => running === null;

async function start() {
  const chosen = { network: $("network").value, seed: Number($("seed").value) };
  const options = {
    method: $("method").value,
    exact: $("exact").checked,
    anchored: $("anchored").checked,
    time_limit: Number($("time-limit").value),
  };
  $("solve").disabled = true; // a second click is no second search
  try {
    const { work } = networks.find((n) => n.name === chosen.network);
    await follow(await (work ? post("/api/train", chosen) : post("/api/solve", { ...chosen, ...options })), true);
  } finally {
    $("solve").disabled = running !== null;
  }
}

async function cancel() {
  if (!running) return;
  $("live-status").textContent = "stopping: the best so far is judged and kept; cancel again to drop it";
  await post(`/api/jobs/${running}/cancel`);
}

export async function follow(job, show) {
  running = job.id;
  points = [];
  training = job.task === "train";
  $("live").hidden = false;
  $("live-title").textContent = job.title;
  $("live-what").textContent = training ? "loss, epoch by epoch" : "relative residual, step by step: the best so far, and the current one behind it";
  $("live-status").textContent = "waiting for its turn";
  $("cancel").disabled = $("solve").disabled = false;
  $("solve").disabled = true;
  dim(true);
  chart();
  try {
    for await (const event of events(job.id)) {
      if (running !== job.id) return;
      if (event.kind === "point") point(event);
      else if (event.kind === "running") $("live-status").textContent = "running";
      else ended(event, show || job.state !== "done");
    }
  } finally {
    if (running === job.id) {
      running = null;
      $("cancel").disabled = true;
      $("solve").disabled = false;
      dim(false);
    }
  }
}

// While a search runs, what is on the bench is the quine before it.
function dim(on) {
  $("quine").classList.toggle("stale", on && !$("facts").hidden);
  $("stale").hidden = !on || $("facts").hidden;
}

let due = 0;
function point(event) {
  points.push([event.step, training ? event.loss : event.relative_residual, event.current_relative_residual]);
  cancelAnimationFrame(due);
  due = requestAnimationFrame(chart);
  if (training) {
    $("live-status").textContent =
      `epoch ${event.step}, loss ${number(event.loss)}, ${percent(event.validation)} of the validation digits right`;
    return;
  }
  const residual = event.relative_residual === null ? "infinite" : event.relative_residual.toExponential(1);
  $("live-status").textContent =
    `step ${whole(event.step)}, ${whole(event.map_evaluations)} evaluations of the map, best relative residual ${residual}, ` +
    `current ${number(event.current_relative_residual)}`;
}

function ended(event, show) {
  if (event.kind === "failed") {
    $("live-status").textContent = `failed: ${event.error}`;
    trouble(event.error);
  } else if (event.kind === "cancelled") $("live-status").textContent = "cancelled";
  else {
    const { solution, quine, training: trained } = event.result;
    add(event.result);
    dim(false);
    if (show) put(event.result);
    if (show && innerWidth <= NARROW) $("facts").scrollIntoView();
    if (trained) {
      $("live-status").textContent =
        `${trained.sentence}: ${percent(trained.accuracy)} of the test digits right after ${trained.epochs} epochs and ${number(trained.seconds)} seconds`;
      return;
    }
    floor = quine.dtype === "float32" ? 5e-6 : 9e-15;
    chart();
    $("live-status").textContent =
      `${solution.sentence}: relative residual ${number(solution.relative_residual)} after ` +
      `${whole(solution.steps)} steps and ${number(solution.seconds)} seconds`;
  }
}

function chart() {
  if ($("live").hidden) return;
  const axes = training ? { xName: "epoch" } : { floor, xName: "step" };
  logChart($("live-chart"), points, axes);
}

const found = [];
function list(quines) {
  quines.forEach(add);
}

export function add(quine) {
  if (found.includes(quine.id)) return;
  found.push(quine.id);
  const text = quine.verification.is_quine ? "a quine" : quine.verification.trivial.length ? "trivial" : "not a quine";
  const { bit_exact, spectral_radius } = quine.verification;
  const more = [bit_exact && "every bit", spectral_radius !== null && (spectral_radius < 1 ? "attracts" : "repels"), quine.id].filter(Boolean);
  const button = make("button", { type: "button" }, `${quine.title}: ${text} `, make("small", { textContent: more.join(", ") }));
  button.dataset.quine = quine.id;
  button.addEventListener("click", guarded(async () => put(await get(`/api/quines/${quine.id}`))));
  $("found-list").prepend(make("li", {}, button));
  $("found").hidden = false;
}

document.addEventListener("quine", (event) => {
  for (const button of $("found-list").querySelectorAll("button"))
    button.setAttribute("aria-current", String(button.dataset.quine === event.detail.id));
});
