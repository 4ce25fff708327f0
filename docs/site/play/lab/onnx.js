// made by `make play` from src/neuralquine/lab/static/js/onnx.js: do not edit
"use strict";

const Onnx = (() => {
// An ONNX file, read strictly: the protobuf fields that the exporter writes, each in its place, and no others.

// A file that is not what the exporter writes; the message says how it differs.
class Foreign extends Error {}

// Of each message: number of a field -> its name, its kind, and whether there may be several.
const MANY = true;
const DIMENSIONS = [1, ["dims", "ints", MANY]];
const ENTRY = new Map([[1, ["key", "text"]], [2, ["value", "text"]]]);
const OPSET = new Map([[1, ["domain", "text"]], [2, ["version", "int"]]]);
const INFO = new Map([[1, ["name", "text"]], [2, ["type", "bytes"]]]);
const TENSOR = new Map([DIMENSIONS, [2, ["type", "int"]], [8, ["name", "text"]], [9, ["raw", "bytes"]]]);
const ATTRIBUTE = new Map([[1, ["name", "text"]], [3, ["i", "int"]], [8, ["ints", "ints", MANY]], [20, ["type", "int"]]]);
const NODE = new Map([
  [1, ["inputs", "text", MANY]], [2, ["outputs", "text", MANY]], [3, ["name", "text"]], [4, ["kind", "text"]],
  [5, ["attributes", ATTRIBUTE, MANY]],
]);
const GRAPH = new Map([
  [1, ["nodes", NODE, MANY]], [2, ["name", "text"]], [5, ["initializers", TENSOR, MANY]], [12, ["outputs", INFO, MANY]],
]);
const MODEL = new Map([
  [1, ["ir", "int"]], [2, ["producer", "text"]], [3, ["version", "text"]], [6, ["about", "text"]], [7, ["graph", GRAPH]],
  [8, ["opsets", OPSET, MANY]], [14, ["words", ENTRY, MANY]],
]);
const TITLES = new Map([
  [MODEL, "model"], [GRAPH, "graph"], [NODE, "nodes"], [ATTRIBUTE, "attributes"], [TENSOR, "initializers"],
  [INFO, "outputs"], [OPSET, "operator sets"], [ENTRY, "metadata"],
]);
const VARINT = 0, LENGTH = 2; // kinds of encoding; the exporter writes no others
const utf8 = new TextDecoder("utf-8", { fatal: true });

// The model of a file's bytes. Raw data stay views into these bytes.
function readModel(bytes) {
  try {
    return message(bytes, MODEL);
  } catch (error) {
    if (error instanceof Foreign) throw error;
    throw new Foreign("it is no ONNX model");
  }
}

function message(bytes, fields) {
  const found = {};
  for (const [name, , many] of fields.values()) if (many) found[name] = [];
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      if (at >= bytes.length) throw new RangeError();
      value |= BigInt(bytes[at] & 127) << shift;
      if (bytes[at++] < 128) return Number(BigInt.asIntN(64, value));
    }
    throw new RangeError();
  };
  while (at < bytes.length) {
    const tag = varint();
    const [number, coding] = [Math.floor(tag / 8), tag % 8];
    if (fields === MODEL && number !== 1 && !("ir" in found)) throw new RangeError(); // a model begins with its version
    if (!fields.has(number)) throw new Foreign(`field ${number} of its ${TITLES.get(fields)} is none that the exporter writes`);
    const [name, kind, many] = fields.get(number);
    const values = [];
    if (coding === VARINT && (kind === "int" || kind === "ints")) values.push(varint());
    else if (coding === LENGTH && kind !== "int") {
      const end = varint() + at;
      if (!(end >= at && end <= bytes.length)) throw new RangeError();
      if (kind === "ints") while (at < end) values.push(varint());
      else {
        const part = bytes.subarray(at, end);
        values.push(kind === "text" ? utf8.decode(part) : kind === "bytes" ? part : message(part, kind));
      }
      at = end;
    } else throw new RangeError();
    if (many) found[name].push(...values);
    else if (name in found) throw new Foreign(`field ${number} of its ${TITLES.get(fields)} is there twice`);
    else found[name] = values[0];
  }
  return found;
}

return { Foreign, readModel };
})();
