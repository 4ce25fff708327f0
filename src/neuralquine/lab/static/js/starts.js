// Three buttons, each a story that ends well: it is solved, looked at, damaged where it heals, and heals.

import { get, post } from "./api.js";
import { readSample } from "./digits.js";
import { $, bench, guarded, percent } from "./page.js";
import { follow, idle } from "./search.js";
import { run, send, shown } from "./wounds.js";

const ANCHORED = { exact: false, anchored: true };
const PAUSE = 1200; // milliseconds to see what has changed before the next thing does
const pause = () => new Promise((resume) => setTimeout(resume, PAUSE));

// Somebody has put another quine on the bench: the story is not theirs.
class Left extends Error {}

const STORIES = {
  "start-post": { search: ["solve", { network: "blog", exact: true, anchored: false }], then: look },
  "start-heal": { search: ["solve", { network: "rnn", ...ANCHORED }], then: heal },
  "start-digits": { search: ["train", { network: "digits-mlp" }], then: read },
};

export function openStarts(hello) {
  const known = new Set([...hello.networks, ...hello.works].map((n) => n.name));
  for (const [id, { search: [, { network }] }] of Object.entries(STORIES)) {
    $(id).disabled = !known.has(network);
    if (!known.has(network)) $(id).querySelector("small").textContent = `needs scikit-learn: ${hello.installing.tasks}`;
    else $(id).addEventListener("click", guarded(() => story(id)));
  }
}

addEventListener("pointerdown", () => $("start-status").classList.remove("telling"));

async function story(id) {
  if (!idle()) throw new Error("a search is running: wait for it, or cancel it");
  const { search: [task, options], then } = STORIES[id];
  const say = (text) => ($("start-status").textContent = text);
  $("start-status").classList.add("telling"); // over the panel that it is about, until the next click
  say(task === "train" ? "training …" : "searching …");
  choose({ exact: false, anchored: false, ...options });
  try {
    await follow(await post(`/api/${task}`, { ...options, seed: 0, ...(task === "solve" ? { time_limit: 60 } : {}) }), true);
    const { id: own, verification: v } = bench.quine ?? {};
    if (!v?.is_quine) return say("");
    await shown();
    await then(say, () => {
      if (bench.quine.id !== own) throw new Left();
    });
  } catch (error) {
    say("");
    if (!(error instanceof Left)) throw error;
  }
}

// The form shows what is asked.
function choose({ network, exact, anchored }) {
  $("network").value = network;
  [$("seed").value, $("method").value] = ["0", ""];
  $("network").dispatchEvent(new Event("change"));
  for (const [box, on] of [[$("exact"), exact], [$("anchored"), anchored]]) box.checked = on && !box.disabled;
}

function look(say) {
  $("facts").scrollIntoView({ block: "start" });
  const { verification: v } = bench.quine;
  say(v.bit_exact ? "Found: every one of its 1,020 weights is printed with the very bits that it holds." : "");
}

async function heal(say, mine) {
  $("line-status").scrollIntoView({ block: "center" }); // between the curve and the pictures
  say("Found. Now a fifth of its weights is set to zero …");
  await pause();
  mine();
  await send("damage", { kind: "zero", share: 0.2 });
  say("… and what it prints is put in their place, again and again.");
  await pause();
  mine();
  await run();
  mine();
  say(bench.view.sentence);
}

async function read(say, mine) {
  $("digits").scrollIntoView({ block: "start" });
  say("Trained. It reads a 3; now a tenth of its weights gets noise …");
  await readSample(3);
  await pause();
  mine();
  await send("damage", { kind: "noise", share: 0.1 });
  const { current } = await get(`/api/quines/${bench.quine.id}/score`);
  say(`… it still reads ${percent(current)} of new digits right, and still prints all of itself: one generation, and it is whole.`);
  await pause();
  await pause();
  mine();
  await send("generations", { count: 1 });
  say(bench.view.sentence);
}
