// Runs the graph of an exported quine here, operator by operator, in the numbers of its own types.
"use strict";

const Runner = (() => {
  const FLOAT = 1, INT8 = 3, INT32 = 6, INT64 = 7, BOOL = 9, DOUBLE = 11;
  const ARRAYS = { [FLOAT]: Float32Array, [INT8]: Int8Array, [INT32]: Int32Array, [INT64]: BigInt64Array, [BOOL]: Uint8Array, [DOUBLE]: Float64Array };
  const MOST = 1 << 26; // numbers in one value: more are not for a page
  const value = (type, dims) => {
    const size = count(dims);
    if (!(size <= MOST)) throw new Error("it makes a value too large for a page");
    return { type, dims, data: new ARRAYS[type](size) };
  };
  const count = (dims) => dims.reduce((a, b) => a * b, 1);
  const whole = ({ data }) => Array.from(data, Number);

  // Strides of each input as if it had the shape of the output; 0 where it is repeated.
  function strides(dims, out) {
    let step = 1;
    const own = dims.map(() => 0);
    for (let i = dims.length - 1; i >= 0; i--) {
      own[i] = dims[i] === 1 ? 0 : step;
      step *= dims[i];
    }
    return [...new Array(out.length - dims.length).fill(0), ...own];
  }

  function broadcast(...shapes) {
    const rank = Math.max(...shapes.map((s) => s.length));
    return Array.from({ length: rank }, (_, i) => {
      const sizes = shapes.map((s) => s[i - rank + s.length] ?? 1), most = sizes.find((n) => n !== 1) ?? 1;
      if (sizes.some((n) => n !== 1 && n !== most)) throw new Error("its shapes do not fit");
      return most;
    });
  }

  // Calls back with the place in the output and in every input.
  function along(dims, steps, each) {
    const index = dims.map(() => 0), at = steps.map(() => 0), size = count(dims);
    for (let k = 0; k < size; k++) {
      each(k, at);
      for (let i = dims.length - 1; i >= 0; i--) {
        index[i]++;
        for (let s = 0; s < steps.length; s++) at[s] += steps[s][i];
        if (index[i] < dims[i]) break;
        for (let s = 0; s < steps.length; s++) at[s] -= steps[s][i] * dims[i];
        index[i] = 0;
      }
    }
  }

  const pairwise = (what, type) => ([a, b]) => {
    const out = value(type ?? a.type, broadcast(a.dims, b.dims));
    along(out.dims, [strides(a.dims, out.dims), strides(b.dims, out.dims)], (k, [i, j]) => {
      out.data[k] = what(a.data[i], b.data[j]);
    });
    return out;
  };
  const each = (what) => ([a]) => {
    const out = value(a.type, a.dims);
    for (let i = 0; i < a.data.length; i++) out.data[i] = what(a.data[i]);
    return out;
  };

  function matmul([a, b]) {
    const [n, m, p] = [a.dims.at(-2), a.dims.at(-1), b.dims.at(-1)];
    if (a.dims.length < 2 || b.dims.length < 2 || b.dims.at(-2) !== m) throw new Error("its matrices do not fit");
    const outer = broadcast(a.dims.slice(0, -2), b.dims.slice(0, -2)), out = value(a.type, [...outer, n, p]);
    const [left, right] = [a, b].map((v) => strides(v.dims.slice(0, -2), outer).map((s) => s * v.dims.at(-2) * v.dims.at(-1)));
    const sums = new Float64Array(p);
    along(outer, [left, right], (batch, [x, y]) => {
      for (let i = 0; i < n; i++) {
        sums.fill(0);
        for (let k = 0; k < m; k++) {
          const factor = a.data[x + i * m + k], from = y + k * p;
          for (let j = 0; j < p; j++) sums[j] += factor * b.data[from + j];
        }
        out.data.set(sums, (batch * n + i) * p);
      }
    });
    return out;
  }

  const reduce = (start, join, finish = (sum) => sum) => ([a, axes], { keepdims = 1 }) => {
    const rank = a.dims.length, over = new Set(axes?.data.length ? whole(axes).map((i) => (i + rank) % rank) : a.dims.keys());
    const kept = a.dims.map((n, i) => (over.has(i) ? 1 : n)), out = value(a.type, kept);
    const sums = new Float64Array(out.data.length).fill(start);
    along(a.dims, [strides(kept, a.dims)], (k, [i]) => (sums[i] = join(sums[i], Number(a.data[k]))));
    const size = a.data.length / out.data.length;
    sums.forEach((sum, i) => (out.data[i] = finish(sum, size)));
    if (!keepdims) out.dims = a.dims.filter((_, i) => !over.has(i));
    return out;
  };

  function reshape([a, shape]) {
    let dims = whole(shape).map((n, i) => (n === 0 ? a.dims[i] : n));
    const known = count(dims.filter((n) => n !== -1));
    dims = dims.map((n) => (n === -1 ? a.data.length / known : n));
    if (count(dims) !== a.data.length) throw new Error("its shapes do not fit");
    return { ...a, dims };
  }

  function transpose([a], { perm = [...a.dims.keys()].reverse() }) {
    const own = [];
    a.dims.reduceRight((step, n, i) => ((own[i] = step), step * n), 1);
    const out = value(a.type, perm.map((i) => a.dims[i]));
    along(out.dims, [perm.map((i) => own[i])], (k, [i]) => (out.data[k] = a.data[i]));
    return out;
  }

  function concat(parts, { axis = 0 }) {
    const first = parts[0], rank = first.dims.length, at = (axis + rank) % rank;
    const dims = first.dims.map((n, i) => (i === at ? parts.reduce((sum, v) => sum + v.dims[at], 0) : n));
    const out = value(first.type, dims), inner = count(dims.slice(at + 1)), rows = count(dims.slice(0, at));
    let place = 0;
    for (let row = 0; row < rows; row++)
      for (const part of parts) {
        const size = part.dims[at] * inner;
        out.data.set(part.data.subarray(row * size, (row + 1) * size), place);
        place += size;
      }
    return out;
  }

  function slice([a, starts, ends, axes, steps]) {
    const rank = a.dims.length, from = a.dims.map(() => 0), by = a.dims.map(() => 1), dims = [...a.dims];
    whole(starts).forEach((start, k) => {
      const i = axes ? (whole(axes)[k] + rank) % rank : k, step = steps ? whole(steps)[k] : 1, n = a.dims[i];
      const inside = (v, least, most) => Math.max(least, Math.min(most, v < 0 ? v + n : v));
      const [first, last] = step > 0 ? [inside(start, 0, n), inside(whole(ends)[k], 0, n)] : [inside(start, 0, n - 1), inside(whole(ends)[k], -1, n - 1)];
      [from[i], by[i], dims[i]] = [first, step, Math.max(0, Math.ceil((last - first) / step))];
    });
    const own = [];
    a.dims.reduceRight((step, n, i) => ((own[i] = step), step * n), 1);
    const begin = from.reduce((sum, v, i) => sum + v * own[i], 0), out = value(a.type, dims);
    along(dims, [own.map((step, i) => step * by[i])], (k, [i]) => (out.data[k] = a.data[begin + i]));
    return out;
  }

  function gather([a, index], { axis = 0 }) {
    const at = (axis + a.dims.length) % a.dims.length, inner = count(a.dims.slice(at + 1)), outer = count(a.dims.slice(0, at));
    const out = value(a.type, [...a.dims.slice(0, at), ...index.dims, ...a.dims.slice(at + 1)]), n = a.dims[at];
    let place = 0;
    for (let row = 0; row < outer; row++)
      for (const raw of whole(index)) {
        const i = raw < 0 ? raw + n : raw;
        if (!(i >= 0 && i < n)) throw new Error("it reads beside a table");
        const start = (row * n + i) * inner;
        out.data.set(a.data.subarray(start, start + inner), place);
        place += inner;
      }
    return out;
  }

  function cast([a], { to }) {
    if (!ARRAYS[to]) throw new Error("it uses a type that is not known here");
    const out = value(to, a.dims), big = to === INT64, bool = to === BOOL;
    for (let i = 0; i < a.data.length; i++) {
      const v = a.data[i];
      out.data[i] = big ? BigInt(Math.trunc(Number(v))) : bool ? (Number(v) ? 1 : 0) : Number(v);
    }
    return out;
  }

  function where([choice, a, b]) {
    const out = value(a.type, broadcast(choice.dims, a.dims, b.dims));
    along(out.dims, [choice, a, b].map((v) => strides(v.dims, out.dims)), (k, [c, i, j]) => {
      out.data[k] = choice.data[c] ? a.data[i] : b.data[j];
    });
    return out;
  }

  const OPERATORS = {
    Add: pairwise((a, b) => a + b), Sub: pairwise((a, b) => a - b), Mul: pairwise((a, b) => a * b), Div: pairwise((a, b) => a / b),
    Max: pairwise((a, b) => Math.max(a, b)), Min: pairwise((a, b) => Math.min(a, b)),
    And: pairwise((a, b) => a & b, BOOL), Equal: pairwise((a, b) => Number(a === b), BOOL), Less: pairwise((a, b) => Number(a < b), BOOL),
    Abs: each(Math.abs), Neg: each((v) => -v), Exp: each(Math.exp), Sqrt: each(Math.sqrt), Sign: each(Math.sign),
    Round: each(Network.rint), Relu: each((v) => (v < 0 ? 0 : v)),
    MatMul: matmul, Reshape: reshape, Transpose: transpose, Concat: concat, Slice: slice, Gather: gather, Cast: cast, Where: where,
    ReduceSum: reduce(0, (a, b) => a + b), ReduceMean: reduce(0, (a, b) => a + b, (sum, n) => sum / n),
    ReduceMax: reduce(-Infinity, (a, b) => Math.max(a, b)), ReduceMin: reduce(Infinity, (a, b) => Math.min(a, b)),
  };

  // A graph that can be run again with other numbers in some initializers; what does not depend on them is kept.
  function load(graph, weights) {
    const constants = new Map(), names = new Set(weights.map((w) => w.name));
    for (const { name, type, dims, raw } of graph.initializers)
      constants.set(name, { type, dims, data: new ARRAYS[type]((raw ?? new Uint8Array()).slice().buffer) });
    const moving = new Set(names);
    for (const node of graph.nodes) if (node.inputs.some((name) => moving.has(name))) moving.add(node.outputs[0]);
    const attributes = (node) => Object.fromEntries(node.attributes.map((a) => [a.name, a.i ?? a.ints]));
    // Values by name, of the nodes that the wanted outputs are made from.
    return (theta, wanted) => {
      const values = new Map(constants), needed = new Set(wanted);
      for (const node of [...graph.nodes].reverse())
        if (needed.has(node.outputs[0])) node.inputs.forEach((name) => needed.add(name));
      let at = 0;
      for (const { name, type, dims, size } of weights) {
        values.set(name, { type, dims, data: theta.subarray(at, at + size) });
        at += size;
      }
      for (const node of graph.nodes) {
        const [name] = node.outputs;
        if (!needed.has(name) || values.has(name)) continue;
        const made = OPERATORS[node.kind](node.inputs.map((input) => values.get(input)), attributes(node));
        values.set(name, made);
        if (!moving.has(name)) constants.set(name, made);
      }
      return wanted.map((name) => values.get(name).data);
    };
  }

  return { load };
})();
