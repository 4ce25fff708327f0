// What is known of the quine on the bench: four words, the figures, the eigenvalues, and what can be kept.

import { download, events, get, post } from "./api.js";
import { $, bench, guarded, make, number, onQuine, percent, sentence, whole } from "./page.js";
import { spectrumPlot, spectrumWords } from "./plots.js";

const SHORT = { facts: "the quine", wounds: "weights", spectrum: "eigenvalues", zoo: "zoo", digits: "digits", check: "self.onnx" };
let proofs = false;

export function openQuine(hello) {
  onQuine(show);
  onQuine(spectrum);
  document.addEventListener("view", jumps);
  $("prove").addEventListener("click", guarded(prove));
  proofs = hello.proofs;
  $("get-onnx").hidden = !hello.onnx;
  for (const [id, path, name] of [
    ["get-folder", "folder.zip", "zip"],
    ["get-onnx", "self.onnx", "onnx"],
    ["get-certificate", "certificate.json", "json"],
  ])
    $(id).addEventListener("click", guarded(() => download(`/api/quines/${bench.quine.id}/${path}`, `${called(bench.quine.title)}.${name}`)));
}

// A file is called as the quine is: "blog, seed 0, exact" becomes blog-seed-0-exact.
const called = (title) => title.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 60) || "quine";

function show(quine) {
  const { verification: v, quine: network, solution, proof } = quine;
  $("welcome").hidden = true;
  $("facts").hidden = false;
  $("facts").dataset.quine = quine.id;
  $("facts-title").textContent = quine.title;
  $("facts-verdict").className = v.is_quine ? "good" : "bad";
  $("facts-verdict").textContent = v.is_quine
    ? "A quine: the network prints its own weights, and no trick explains it."
    : v.trivial.length
      ? `This is a trivial quine: ${v.trivial.join("; ")}.`
      : `No quine. ${sentence(solution?.sentence ?? "it has not converged")}.`;
  const portable = proof ? proof.portable : v.portable;
  const proved = proof ? proof.proved : v.proved;
  $("words").replaceChildren(
    word("converged", v.converged, "relative residual at round-off"),
    word("bit-exact", v.bit_exact, v.bit_exact ? "printed bits equal the stored ones" : `${whole(v.differing_weights)} of ${whole(v.parameters)} differ in some bit`),
    word("portable", portable, proof?.portable_reason ?? "the same bits on every machine"),
    word("proved", proved, "a theorem about the exact network"),
  );
  $("figures").replaceChildren(
    ...pairs([
      ["relative residual", number(v.relative_residual)],
      ["largest difference", number(v.max_abs_residual, 2)],
      ["RMS weight", number(v.weight_rms)],
      ["self-sensitivity", number(v.self_sensitivity), network.task ? "every sign is read with a margin" : "0 would be a printed constant"],
      ["spectral radius", number(v.spectral_radius), v.spectral_radius < 1 ? "attracts" : "repels plain regeneration"],
      ["generations", `${v.generations_survived} of ${v.generations_tried}`, "within 1 % of the start"],
      ["weights", `${whole(v.parameters)} in ${v.dtype}`],
      ...(quine.training ? [["test digits right", percent(quine.training.accuracy)]] : []),
      ["code", `${whole(network.code_size)} ${network.task ? "signs" : "numbers"}`, grid(network)],
      ...(solution ? [["found by", solution.method, `${number(solution.seconds)} s, ${whole(solution.map_evaluations)} evaluations`]] : []),
    ]),
  );
  $("proof-claim").textContent = proof ? `${proof.proved ? "Proved. " : "Not proved: "}${proof.claim}` : "";
  $("prove").hidden = !proofs || network.task; // a tape's code is too large to be proved here
  $("prove").disabled = Boolean(proof);
  $("get-certificate").disabled = !quine.certificate;
  $("get-onnx").disabled = !v.bit_exact || !v.is_quine || network.task;
}

const grid = ({ task, code_bits, code_phase }) =>
  task ? "" : code_bits === null ? "no grid" : `grid 2⁻${superscript(code_bits)}${code_phase ? `, phase ${code_phase}` : ""}`;

const superscript = (n) => [...String(n)].map((d) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[d]).join("");

function word(name, is, about) {
  const answer = is === null ? "not examined" : is ? "yes" : "no";
  return make(
    "li",
    // Only the first word decides whether it is a quine at all.
    { className: is ? "good" : name === "converged" ? "bad" : "open" },
    make("b", { textContent: name }),
    make("span", { className: "answer", textContent: answer }),
    make("small", { textContent: about }),
  );
}

const pairs = (rows) =>
  rows.map(([name, value, about]) =>
    make("div", {}, make("dt", { textContent: name }), make("dd", {}, value, ...(about ? [make("small", { textContent: about })] : []))),
  );

async function prove() {
  const { id } = bench.quine;
  $("prove").disabled = true;
  $("proof-claim").textContent = "proving …";
  try {
    const job = await post(`/api/quines/${id}/prove`);
    for await (const event of events(job.id)) {
      if (event.kind === "done" && bench.quine.id === id) {
        bench.quine = event.result;
        show(event.result);
      }
      if (event.kind === "failed") throw new Error(event.error);
    }
  } catch (error) {
    $("proof-claim").textContent = "";
    $("prove").disabled = false;
    throw error;
  }
}

async function spectrum(quine) {
  $("spectrum").hidden = true;
  const { values, bound, spectral_radius, self_sensitivity } = await get(`/api/quines/${quine.id}/eigenvalues`);
  // A tape has one eigenvalue, 0, many times over: there is nothing to see.
  if (bench.quine.id !== quine.id || bound || !values.some(([re, im]) => re || im)) return jumps();
  $("spectrum").hidden = false;
  $("spectrum-text").textContent =
    `${spectrumWords(values)} Spectral radius ${number(spectral_radius)}, self-sensitivity ${number(self_sensitivity)}.`;
  $("spectrum-plot").replaceChildren(spectrumPlot(values, $("spectrum-text").textContent));
  jumps();
}

// On a long page: a way to each panel that is there.
function jumps() {
  const there = [...$("quine").querySelectorAll("section[aria-labelledby]:not([hidden])"), $("check")];
  $("jumps").replaceChildren(...there.map((s) => make("a", { href: `#${s.id}`, textContent: SHORT[s.id] ?? s.id })));
  $("jumps").hidden = there.length < 2;
}
