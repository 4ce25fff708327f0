// made by `make play` from src/neuralquine/lab/static/js/graph.js: do not edit
"use strict";

const Graph = (() => {
// What a graph shows without being run: how `stored`, `printed` and `is_quine` are made, and from what.
//
// The ends of the graph are compared with the exporter's. The network between the weights and the code is not; that is
// what `neuralquine verify self.onnx` does.

const { Foreign, readModel } = Onnx;
const { TABLES, offset } = Tables;

const FLOAT = 1, INT8 = 3, INT32 = 6, INT64 = 7, BOOL = 9, DOUBLE = 11; // types of numbers, by ONNX's numbers
const TYPES = { [FLOAT]: Float32Array, [INT8]: Int8Array, [INT64]: BigInt64Array, [BOOL]: Uint8Array, [DOUBLE]: Float64Array };
const NAMES = { float32: FLOAT, float64: DOUBLE };
// What the exporter uses. None of them holds numbers of its own, branches, or depends on anything but its inputs.
const OPERATORS = new Set(
  ("Abs Add And Cast Concat Div Equal Exp Gather Less MatMul Max Min Mul Neg ReduceMax ReduceMean ReduceMin ReduceSum " +
    "Relu Reshape Round Sign Slice Sqrt Sub Transpose Where").split(" "),
);
const SAME_RUN = 8; // weights in a row that are no accident in another initializer, where four of them differ
const OUTPUTS = ["printed", "stored", "is_quine"];

const demand = (holds, reason) => {
  if (!holds) throw new Foreign(reason);
};
const shown = (text) => JSON.stringify(String(text).slice(0, 40));

// Throws Foreign where the file is not what the exporter writes; else says what was found.
function examine(bytes) {
  const model = readModel(bytes);
  const { graph } = model;
  demand(graph?.nodes.length, "it is no ONNX model");
  demand(model.opsets.length === 1 && !model.opsets[0].domain, "it uses operators that are not ONNX's own");
  demand(
    graph.outputs.map((o) => o.name).join() === OUTPUTS.join(),
    `it must take no input and answer ${OUTPUTS.join(", ")}`,
  );
  const said = description(model);
  const values = valuesOf(graph);
  const weights = storedWeights(values, said);
  compared(values);
  const code = expanded(values, said, weights);
  computed(values, code, weights);
  notCopied(values, weights);
  return {
    weights,
    count: weights.reduce((sum, w) => sum + w.size, 0),
    codeSize: said.code_size,
    seed: said.seed,
    constant: weights.reduce((sum, w, i) => sum + (said.gains[i] === 0 ? w.size : 0), 0),
  };
}

function description(model) {
  const texts = model.words.filter((entry) => entry.key === "description");
  demand(texts.length === 1, "it does not describe the quine that it was made from");
  let said = null;
  try {
    said = JSON.parse(texts[0].value);
  } catch {
    throw new Foreign("its description cannot be read");
  }
  const whole = (n) => Number.isSafeInteger(n) && n >= 0;
  const fits =
    said?.dtype in NAMES && Object.hasOwn(TABLES, said.expansion) && whole(said.code_size) && whole(said.code_bits) && whole(said.seed) && whole(said.code_phase ?? 0) &&
    Array.isArray(said.tensors) && said.tensors.length > 0 && said.tensors.every((t) => Array.isArray(t) && typeof t[0] === "string" && Array.isArray(t[1])) &&
    [said.means, said.gains].every((list) => Array.isArray(list) && list.length === said.tensors.length && list.every(Number.isFinite));
  demand(fits, "its description is not one of an exported quine that this page can check");
  return said;
}

// Every initializer and the output of every node by name, with who uses it.
function valuesOf(graph) {
  const values = new Map();
  const enter = (name, value) => {
    demand(name && !values.has(name), `it gives ${shown(name)} twice`);
    values.set(name, { name, users: 0, ...value });
  };
  for (const { name, type, dims, raw } of graph.initializers) {
    const size = dims.reduce((a, b) => a * b, 1);
    const kind = TYPES[type];
    const right = kind && dims.every((n) => n >= 0) && (raw?.length ?? 0) === size * kind.BYTES_PER_ELEMENT;
    demand(right, `the initializer ${shown(name)} is not written as the exporter writes one`);
    const own = (raw ?? new Uint8Array()).slice().buffer; // aligned
    enter(name, { initializer: true, type, dims, size, place: raw?.byteOffset ?? 0, numbers: new kind(own) });
  }
  for (const node of graph.nodes) {
    demand(OPERATORS.has(node.kind), `it uses the operator ${shown(node.kind)}, and the exporter does not`);
    demand(node.outputs.length === 1, "it has a node with several outputs");
    for (const name of node.inputs) {
      demand(values.has(name), `${shown(name)} is used before it is made`);
      values.get(name).users++;
    }
    const attributes = Object.fromEntries(node.attributes.map((a) => [a.name, a.i ?? a.ints]));
    enter(node.outputs[0], { kind: node.kind, inputs: node.inputs.map((name) => values.get(name)), attributes });
  }
  return values;
}

// -- the ends of the graph --------------------------------------------------------------------------------------------

// The inputs of a node that must be of this kind.
function inputs(value, kind, what) {
  demand(value?.kind === kind, `${what}: a node ${shown(kind)} is missing`);
  return value.inputs;
}

const scalar = (value) => (value.initializer && value.dims.length === 0 && value.type !== INT64 ? value.numbers[0] : NaN);
const joined = (value, what) => {
  const pieces = inputs(value, "Concat", what);
  demand((value.attributes.axis ?? 0) === 0, `${what}: it is joined in another way`);
  return pieces;
};

// `stored` is every weight in its order, and used for nothing but the comparison.
function storedWeights(values, said) {
  const what = "stored is not the weights one after the other";
  const all = said.tensors.map(([name, shape]) => {
    const weight = values.get(name);
    const fits = weight?.initializer && weight.type === NAMES[said.dtype] && weight.dims.join() === shape.join();
    demand(fits, `it does not hold the weights ${shown(name)} that it describes`);
    return weight;
  });
  demand(new Set(all).size === all.length, `${what}: a name comes twice`);
  const pieces = joined(values.get("stored"), what);
  demand(pieces.length === all.length, what);
  pieces.forEach((piece, i) => demand(inputs(piece, "Reshape", what)[0] === all[i] && piece.users === 1, what));
  return all;
}

// `is_quine` compares every bit: the numbers, then their reciprocals, which tell +0 from -0.
function compared(values) {
  const what = "is_quine does not compare printed with stored";
  const [printed, stored] = [values.get("printed"), values.get("stored")];
  const [least] = inputs(values.get("is_quine"), "Cast", what);
  const [whole, ...axes] = inputs(least, "ReduceMin", what);
  const [both] = inputs(whole, "Cast", what);
  const [numbers, reciprocals] = inputs(both, "And", what);
  const pair = inputs(numbers, "Equal", what);
  const [left, right] = inputs(reciprocals, "Equal", what);
  const [a, b] = [inputs(left, "Div", what), inputs(right, "Div", what)];
  demand(values.get("is_quine").attributes.to === BOOL && whole.attributes.to === INT32 && !axes.length, what);
  demand(pair[0] === printed && pair[1] === stored && a[1] === printed && b[1] === stored, what);
  demand(a[0] === b[0] && scalar(a[0]) === 1, what);
  demand(printed.users === 2 && stored.users === 2, "printed or stored is used for something else too");
}

// `printed` is mean + gain * (A c), with the table A of the seed and a code c on the grid; gives the code before rounding.
function expanded(values, said, weights) {
  const what = "printed is not the expansion of a code";
  const exact = said.dtype === "float32" ? Math.fround : (n) => n;
  const entry = TABLES[said.expansion](said.seed, said.code_size);
  const pieces = joined(values.get("printed"), what);
  let [quarter, row, place] = [null, 0, 0];
  weights.forEach((weight, i) => {
    if (weight.size === 0) return;
    const [scaled, mean] = inputs(pieces[place++], "Add", what);
    const [sums, gain] = inputs(scaled, "Mul", what);
    const [table, code] = inputs(inputs(sums, "Reshape", what)[0], "MatMul", what);
    const [bytes] = inputs(table, "Cast", what);
    demand(scalar(mean) === exact(said.means[i]) && scalar(gain) === exact(said.gains[i]), `${what}: other means or gains`);
    quarter ??= code;
    const fits = bytes.initializer && bytes.type === INT8 && bytes.dims.join() === [weight.size, said.code_size].join();
    demand(fits && code === quarter && bytes.users === 1 && table.users === 1, what);
    for (let k = 0; k < bytes.numbers.length; k++) {
      const [r, column] = [Math.floor(k / said.code_size), k % said.code_size];
      demand(bytes.numbers[k] === entry(row + r, column), `its table is not the one of seed ${said.seed}`);
    }
    row += weight.size;
  });
  demand(quarter && place === pieces.length, what);
  const [column, factor] = inputs(quarter, "Mul", what);
  const [typed] = inputs(inputs(column, "Reshape", what)[0], "Cast", what);
  const [steps, grid] = inputs(typed, "Div", what);
  const [fine, same] = inputs(rounded(steps, said, what), "Mul", what);
  demand(scalar(factor) === 0.25 && scalar(grid) === 2 ** said.code_bits && same === grid, `${what}: another grid`);
  return fine;
}

// What is rounded to whole numbers; a grid that is moved takes its offset off before and adds it after.
function rounded(steps, said, what) {
  if (!said.code_phase) return inputs(steps, "Round", what)[0];
  const [near, after] = inputs(steps, "Add", what);
  const [code, before] = inputs(inputs(near, "Round", what)[0], "Sub", what);
  const wanted = offset(said.seed, said.code_phase, said.code_size);
  const fits = after === before && after.initializer && after.type === DOUBLE && after.size === said.code_size;
  demand(fits && wanted.every((n, i) => n === after.numbers[i]), `${what}: another phase`);
  return code;
}

// -- what lies between ------------------------------------------------------------------------------------------------

// The code is computed from every weight: each is reached backwards from it.
function computed(values, code, weights) {
  const reached = new Set([code]);
  for (const value of reached) for (const input of value.inputs ?? []) reached.add(input);
  for (const weight of weights)
    demand(weight.size === 0 || reached.has(weight), `what it prints does not depend on the weights ${shown(weight.name)}`);
}

// No other initializer holds a stretch of the weights.
function notCopied(values, weights) {
  const theta = new Float64Array(weights.reduce((sum, w) => sum + w.size, 0));
  weights.reduce((at, w) => (theta.set(w.numbers, at), at + w.size), 0);
  const run = Math.min(SAME_RUN, theta.length);
  const starts = new Map(); // of the first two numbers of a stretch: where it begins
  const key = (list, i) => `${list[i]},${list[i + 1]}`;
  for (let i = 0; i + run <= theta.length; i += run) {
    if (new Set(theta.subarray(i, i + run)).size < Math.min(4, run)) continue;
    starts.set(key(theta, i), i); // of several the last: one is enough where all are copied
  }
  for (const value of values.values()) {
    if (!value.initializer || weights.includes(value) || (value.type !== FLOAT && value.type !== DOUBLE)) continue;
    for (let i = 0; i + run <= value.size; i++) {
      const start = starts.get(key(value.numbers, i));
      let same = start === undefined ? 0 : 1;
      while (same && same < run && value.numbers[i + same] === theta[start + same]) same++;
      demand(same < run, `the initializer ${shown(value.name)} holds a copy of weights`);
    }
  }
}

// The same file with other weights: each tensor's numbers in reverse, with the other sign.
function otherWeights(bytes, weights) {
  const changed = bytes.slice();
  for (const { numbers, place } of weights) {
    const other = numbers.map((_, i) => -numbers[numbers.length - 1 - i]);
    changed.set(new Uint8Array(other.buffer), place - bytes.byteOffset);
  }
  return changed;
}

return { examine, otherWeights };
})();
