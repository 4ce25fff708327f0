// The network of the post, computed here as the package computes it: Linear 8-20, 20-20, 20-20, tanh and normalization, and
// the fixed table that prints all of its 1,020 weights from the 20 numbers that it computes.
//
// theta -> h = network(z; theta) -> c = Q(N(h)) -> F(theta) = gain * (A c). Table, probe and anchor are made from the seed by
// the same Philox counters as everywhere; sums of their entries with numbers of a grid are exact, in any order.
"use strict";

const Network = (() => {
  const SIDE = 20, INPUTS = 8, EPS = 1e-5, ALPHA = 0.25;
  const PROBE = 3, ANCHOR = 6, PHASES = 11; // streams of a seed
  const LAYERS = [[SIDE, INPUTS], [SIDE, SIDE], [SIDE, SIDE]];
  const TENSORS = LAYERS.flatMap(([rows, columns], i) => [
    { name: `${3 * i}.weight`, shape: [rows, columns] }, { name: `${3 * i}.bias`, shape: [rows] },
  ]);
  const COUNT = LAYERS.reduce((sum, [rows, columns]) => sum + rows * (columns + 1), 0);
  const GAIN = ALPHA / SIDE;

  // To the nearest whole number, ties to even, -0 kept: as IEEE rounds.
  function rint(x) {
    const large = 2 ** 52;
    if (!(Math.abs(x) < large)) return x;
    const rounded = x < 0 || Object.is(x, -0) ? -(-x + large - large) : x + large - large;
    return rounded;
  }

  const mean = (x) => x.reduce((sum, v) => sum + v, 0) / x.length;

  // (h - mean) / scale, with the scale.
  function normalized(h) {
    const middle = mean(h), centered = h.map((v) => v - middle);
    const scale = Math.sqrt(mean(centered.map((v) => v * v)) + EPS);
    return { y: centered.map((v) => v / scale), scale };
  }

  // Tangents (one array for each unit) through the normalization whose output is y.
  function normalizedTangents(d, y, scale) {
    const width = d[0].length, out = d.map(() => new Float64Array(width));
    for (let k = 0; k < width; k++) {
      let middle = 0, along = 0;
      for (let i = 0; i < d.length; i++) middle += d[i][k] / d.length;
      for (let i = 0; i < d.length; i++) along += (y[i] * (d[i][k] - middle)) / d.length;
      for (let i = 0; i < d.length; i++) out[i][k] = (d[i][k] - middle - y[i] * along) / scale;
    }
    return out;
  }

  function scaled(row, factor) {
    const out = new Float64Array(row.length);
    for (let k = 0; k < row.length; k++) out[k] = factor * row[k];
    return out;
  }

  // W d, with W the 20 by 20 weights that begin at this place.
  function product(theta, at, d) {
    const out = [], width = d[0].length;
    for (let i = 0; i < SIDE; i++) {
      const row = new Float64Array(width);
      for (let j = 0; j < SIDE; j++) {
        const [factor, from] = [theta[at + i * SIDE + j], d[j]];
        for (let k = 0; k < width; k++) row[k] += factor * from[k];
      }
      out.push(row);
    }
    return out;
  }

  // Where the grid of a phase lies, in eighths of a step; that of phase 0 is not moved.
  function offset(seed, phase) {
    const word = Tables.words(seed, PHASES);
    return Float64Array.from({ length: SIDE }, (_, i) => (phase ? (word(phase * SIDE + i) >>> 29) / 8 : 0));
  }

  // options: bits of the code's grid (null: none) and its phase, beta (null: a free quine).
  function make(seed, { bits = null, phase = 0, beta = null } = {}) {
    const entry = Tables.TABLES.gaussian(seed, SIDE);
    const table = Float64Array.from({ length: COUNT * SIDE }, (_, k) => entry(Math.floor(k / SIDE), k % SIDE) / 4);
    const draw = (stream) => {
      const word = Tables.words(seed, stream);
      return (i) => (Tables.ones(word(2 * i)) + Tables.ones(word(2 * i + 1)) - 32) / 4;
    };
    const probe = Float64Array.from({ length: INPUTS }, (_, i) => draw(PROBE)(i));
    const anchor = beta === null ? null : anchorOf(draw(ANCHOR), probe);
    const scale = bits === null ? null : 2 ** bits, moved = offset(seed, phase);

    // E(c): the code to all weights.
    function expand(c) {
      const theta = new Float64Array(COUNT);
      for (let row = 0; row < COUNT; row++) {
        let sum = 0;
        for (let k = 0; k < SIDE; k++) sum += table[row * SIDE + k] * c[k];
        theta[row] = 0 + GAIN * sum; // the mean is 0, and makes +0 of -0
      }
      return theta;
    }

    // Every layer's input, tanh and normalization, and the code before it is rounded.
    function run(theta) {
      const layers = [];
      let [x, at] = [probe, 0];
      LAYERS.forEach(([rows, columns], l) => {
        const bias = at + rows * columns, t = new Float64Array(rows);
        for (let i = 0; i < rows; i++) {
          let sum = theta[bias + i];
          for (let j = 0; j < columns; j++) sum += theta[at + i * columns + j] * x[j];
          t[i] = Math.tanh(sum);
        }
        const layer = { x, t, at, bias };
        if (l < LAYERS.length - 1) Object.assign(layer, normalized(t));
        layers.push(layer);
        [x, at] = [layer.y ?? t, bias + rows];
      });
      const inner = normalized(x);
      const outer = anchor && normalized(inner.y.map((v, i) => anchor[i] + beta * v));
      return { layers, inner, outer, code: (outer ?? inner).y };
    }

    function quantize(c) {
      if (scale === null) return c;
      return c.map((v, i) => (phase ? rint(v * scale - moved[i]) + moved[i] : rint(v * scale)) / scale);
    }

    // Tangents at the sum of layer l to tangents of the code.
    function push(state, theta, l, d) {
      for (; ; l++) {
        const { t, y, scale: size } = state.layers[l];
        d = d.map((row, i) => scaled(row, 1 - t[i] * t[i]));
        if (l === LAYERS.length - 1) break;
        d = normalizedTangents(d, y, size);
        const next = state.layers[l + 1];
        d = product(theta, next.at, d);
      }
      d = normalizedTangents(d, state.inner.y, state.inner.scale);
      if (!state.outer) return d;
      return normalizedTangents(d.map((row) => scaled(row, beta)), state.outer.y, state.outer.scale);
    }

    // The derivative of c -> code(E(c)), 20 by 20, at the code whose weights these are.
    function jacobian(theta, state = run(theta)) {
      const total = Linear.identity(SIDE).map((row) => row.fill(0));
      state.layers.forEach(({ x, at, bias }, l) => {
        const d = [];
        for (let i = 0; i < SIDE; i++) {
          const row = table.slice((bias + i) * SIDE, (bias + i + 1) * SIDE);
          for (let j = 0; j < x.length; j++) {
            const from = (at + i * x.length + j) * SIDE, size = x[j];
            for (let k = 0; k < SIDE; k++) row[k] += table[from + k] * size;
          }
          d.push(scaled(row, GAIN));
        }
        const pushed = push(state, theta, l, d);
        for (let i = 0; i < SIDE; i++) for (let k = 0; k < SIDE; k++) total[i][k] += pushed[i][k];
      });
      return total;
    }

    // ||J_F||, of the map from all weights to all weights: how strongly what is printed depends on what is held.
    function sensitivity(theta, state = run(theta)) {
      const inner = Linear.identity(SIDE).map((row) => row.fill(0)); // C C^T
      state.layers.forEach(({ x }, l) => {
        const g = push(state, theta, l, Linear.identity(SIDE)), factor = 1 + x.reduce((sum, v) => sum + v * v, 0);
        for (let i = 0; i < SIDE; i++)
          for (let k = 0; k < SIDE; k++) inner[i][k] += factor * g[i].reduce((sum, v, j) => sum + v * g[k][j], 0);
      });
      const outer = Linear.identity(SIDE).map((row) => row.fill(0)); // E^T E
      for (let r = 0; r < COUNT; r++)
        for (let i = 0; i < SIDE; i++)
          for (let k = 0; k < SIDE; k++) outer[i][k] += GAIN * GAIN * table[r * SIDE + i] * table[r * SIDE + k];
      return Math.sqrt(Linear.eigenvalues(Linear.multiply(outer, inner))[0][0]);
    }

    const code = (theta) => quantize(run(theta).code);
    const print = (theta) => expand(code(theta));
    return { seed, bits, phase, beta, tensors: TENSORS, count: COUNT, size: SIDE, expand, run, quantize, code, print, jacobian, sensitivity };
  }

  // a = N(R z) in whole numbers, on the grid 2^-12.
  function anchorOf(entry, probe) {
    const total = Array.from({ length: SIDE }, (_, j) => probe.reduce((sum, z, i) => sum + 4 * entry(i * SIDE + j) * rint(256 * z), 0));
    const all = total.reduce((sum, v) => sum + v, 0), centered = total.map((v) => v * SIDE - all);
    const size = Math.sqrt(mean(centered.map((v) => v * v)));
    return Float64Array.from(centered, (v) => rint((v / size) * 4096) / 4096);
  }

  return { make, offset, rint };
})();
