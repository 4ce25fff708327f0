// A dropped self.onnx is run in this page by ONNX Runtime Web, without any request but for its own files.

import { $, guarded, whole } from "./page.js";

const ORT = "/static/ort/";
const LARGEST = 256 << 20; // bytes of a file
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
    return check(event.dataTransfer.files[0]);
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
  const say = (text, kind = "") => Object.assign($("check-status"), { textContent: text, className: kind });
  if (!file) return;
  if (file.size > LARGEST) return say(`${file.name} is larger than ${LARGEST >> 20} MB.`, "bad");
  say(`${file.name}: running …`);
  try {
    runtime ??= await load();
    const session = await runtime.InferenceSession.create(new Uint8Array(await file.arrayBuffer()));
    try {
      const names = ["printed", "stored", "is_quine"];
      if (session.inputNames.length || names.some((name) => !session.outputNames.includes(name)))
        return say(`${file.name} is no exported quine: it must take no input and answer ${names.join(", ")}.`, "bad");
      const started = performance.now();
      const { printed, stored, is_quine } = await session.run({});
      const seconds = ((performance.now() - started) / 1000).toPrecision(2);
      const differ = differing(printed.data, stored.data);
      const runs = `${whole(stored.data.length)} weights, ${whole(differ)} printed with other bits, in ${seconds} s`;
      // Its own answer is not believed alone: the bits are compared here too.
      if (is_quine.data[0] && differ === 0) say(`${file.name} is a quine, also here: ${runs}.`, "good");
      else if (!is_quine.data[0] && differ) say(`${file.name} is not a quine: ${runs}.`, "bad");
      else say(`${file.name} contradicts itself: it answers ${Boolean(is_quine.data[0])}, but ${runs}.`, "bad");
    } finally {
      await session.release();
    }
  } catch (error) {
    say(`${file.name} does not run here: ${String(error.message ?? error).split("\n")[0]}`, "bad");
  }
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
