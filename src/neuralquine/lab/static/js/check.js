// A dropped self.onnx is read in this page, and run by ONNX Runtime Web; then the lab, on this machine, writes the whole
// graph again and compares. The page says whether the lab did.

import { upload } from "./api.js";
import { examine, otherWeights } from "./graph.js";
import { Foreign } from "./onnx.js";
import { isFolder } from "./opened.js";
import { $, guarded, make, whole } from "./page.js";

const ORT = "/static/ort/";
const LARGEST = 256 << 20; // bytes of a file
const COMPARED = 32 << 20; // bytes of a file that the lab takes
let runtime = null;

export function openCheck() {
  $("onnx-file").addEventListener("change", guarded(() => check($("onnx-file").files[0])));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    $("drop").classList.add("over");
  });
  addEventListener("dragleave", () => $("drop").classList.remove("over"));
  addEventListener("drop", guarded((event) => {
    $("drop").classList.remove("over");
    const [file] = event.dataTransfer.files;
    return file && !isFolder(file) && check(file);
  }));
}

// 14 MB of WebAssembly are unpacked when the first file is dropped, not before.
async function load() {
  await new Promise((loaded, failed) => {
    const script = Object.assign(document.createElement("script"), { src: `${ORT}ort.wasm.min.js`, onload: loaded });
    script.onerror = () => failed(new Error("ONNX Runtime Web is missing from this installation"));
    document.head.append(script);
  });
  const { ort } = globalThis;
  const packed = await fetch(`${ORT}ort-wasm-simd-threaded.wasm.gz`);
  ort.env.wasm.wasmBinary = await new Response(packed.body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  ort.env.wasm.wasmPaths = new URL(ORT, location.href).href;
  ort.env.wasm.numThreads = 1;
  return ort;
}

async function check(file) {
  if (!file) return;
  if (file.size > LARGEST) return say(`${file.name} is larger than ${LARGEST >> 20} MB.`, "bad");
  say(`${file.name}: reading …`);
  try {
    const bytes = new Uint8Array(await file.arrayBuffer());
    const found = examine(bytes);
    say(`${file.name}: running …`);
    runtime ??= await load();
    const started = performance.now();
    const own = await answers(bytes);
    const seconds = ((performance.now() - started) / 1000).toPrecision(2);
    const other = await answers(otherWeights(bytes, found.weights));
    const moved = differing(other.printed, own.printed);
    say(`${file.name}: the lab writes its graph again …`);
    judge(file.name, found, own, moved, seconds, await compared(bytes));
  } catch (error) {
    const reason = plain(error);
    if (error instanceof Foreign)
      say(`${file.name} is not what neuralquine exports: ${reason}. Whatever it answers is only its own word, so it was not run.`, "bad");
    else say(`${file.name} does not run here: ${reason}`, "bad");
  }
}

// The runtime's codes and numbers are for its authors.
const plain = (error) =>
  String(error.message ?? error).split("\n")[0].replace(/^.*?ERROR_MESSAGE: */, "").replace(/^\w*Error: */, "");

async function answers(bytes) {
  const session = await runtime.InferenceSession.create(bytes);
  try {
    const { printed, stored, is_quine } = await session.run({});
    return { printed: printed.data, stored: stored.data, says: Boolean(is_quine.data[0]) };
  } finally {
    await session.release();
  }
}

// What the lab says of the whole graph; `not` says why it was not asked, or does not know.
async function compared(bytes) {
  if (bytes.length > COMPARED) return { not: `the file is larger than ${COMPARED >> 20} MB` };
  try {
    return await upload("/api/check", bytes, "application/octet-stream");
  } catch (error) {
    return { not: plain(error) };
  }
}

// The answer of the file is not believed: the page compares the bits itself, and the lab the graph.
function judge(name, found, { printed, stored, says }, moved, seconds, graph) {
  const differ = differing(printed, stored);
  const count = whole(found.count);
  const runs = `${count} weights, ${whole(differ)} printed with other bits, in ${seconds} s`;
  const word = graph.not ? `${OWN_WORD} The lab did not: ${graph.not}.` : `Compared by the lab: ${graph.said}.`;
  const report = (text, kind) => say(text, kind, checked(found, moved), word);
  if (says !== (differ === 0)) report(`${name} contradicts itself: it answers ${says}, but ${runs}.`, "bad");
  else if (differ) report(`${name} is not a quine: ${runs}.`, "bad");
  else if (!moved) report(`${name} is not a quine: it prints the same ${count} weights whatever it holds.`, "bad");
  else if (found.constant)
    report(`${name} prints ${whole(found.constant)} of its ${count} weights from constants: their gain is 0.`, "bad");
  else if (!graph.not && !graph.is_quine) report(`${name} is not believed: ${graph.reason || graph.said}.`, "bad");
  else report(`${name} prints its own weights, also here: ${runs}.`, "good");
}

const OWN_WORD =
  "Not checked here, and so only the file’s own word: that the network between the weights and these numbers is the one " +
  "that the file describes, without an addition that makes any weights print themselves. “neuralquine verify self.onnx” " +
  "writes the whole graph again and compares every node.";

// What was found true of the graph, in sentences.
const checked = ({ count, codeSize, seed, weights }, moved) => [
  "The file uses only the operators that neuralquine exports, holds no other code, and reads nothing outside itself.",
  "Its answer is computed, by comparing every bit of what it prints with what it stores.",
  `What it stores is all ${whole(count)} weights of its ${weights.length} tensors, and nothing else.`,
  `What it prints is made from ${whole(codeSize)} numbers on a grid by the table of seed ${seed}, which was computed again here.`,
  "These numbers depend on every tensor of weights, and no other tensor holds a copy of eight weights in a row.",
  `Run once more with other weights, it printed ${whole(moved)} of ${whole(count)} otherwise.`,
];

function say(text, kind = "", list = [], word = "") {
  Object.assign($("check-status"), { textContent: text, className: kind });
  $("check-list").replaceChildren(...list.map((sentence) => make("li", { textContent: sentence })));
  $("check-word").textContent = word;
  $("check-found").hidden = !list.length;
}

function differing(printed, stored) {
  const bytes = (data) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const [a, b, size] = [bytes(printed), bytes(stored), stored.BYTES_PER_ELEMENT];
  if (a.length !== b.length) return Math.max(printed.length, stored.length);
  let count = 0;
  for (let i = 0; i < a.length; i += size) {
    let same = true;
    for (let j = i; j < i + size; j++) same &&= a[j] === b[j];
    count += !same;
  }
  return count;
}
