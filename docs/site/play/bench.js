// The quine on the bench: what it was, what it has become, what it prints; damage and generations.
"use strict";

const Bench = (() => {
  const ROWS = 96, COLUMNS = 192; // cells of a heat map; larger tensors show the weight of largest modulus of each block
  const FAR = 1e-6; // relative distance from which a fixed point is another one

  const size = ({ shape }) => shape.reduce((a, b) => a * b, 1);
  const matrix = ({ shape }) => (shape.length < 2 ? [1, size({ shape })] : [shape[0], size({ shape }) / Math.max(shape[0], 1)]);
  const same = (a, b) => Object.is(a, b); // bit for bit, but for the many NaN
  const differing = (a, b) => a.reduce((sum, v, i) => sum + !same(v, b[i]), 0);

  function distance(a, b) {
    let [gap, length] = [0, 0];
    for (let i = 0; i < a.length; i++) {
      gap += (a[i] - b[i]) ** 2;
      length += b[i] ** 2;
    }
    return Math.sqrt(gap / length);
  }

  // subject: {title, tensors: [{name, shape}], theta, print(theta), roundOff}.
  function lay(subject) {
    const original = subject.theta.slice();
    const bench = { subject, original, current: original.slice(), printed: null, line: [], wounds: 0 };
    begin(bench);
    return bench;
  }

  function begin(bench) {
    bench.line = [];
    note(bench);
  }

  function note(bench) {
    bench.printed = bench.subject.print(bench.current);
    bench.line.push({ distance: distance(bench.current, bench.original), residual: distance(bench.printed, bench.current) });
  }

  // Install what is printed; whether that changed anything.
  function regenerate(bench) {
    if (!differing(bench.current, bench.printed)) return false;
    bench.current = bench.printed;
    note(bench);
    return true;
  }

  function reset(bench) {
    bench.current = bench.original.slice();
    bench.wounds = 0;
    begin(bench);
  }

  const KINDS = {
    noise: (old, spread) => old + spread * Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random()),
    zero: () => 0,
    negate: (old) => -old,
  };

  // Overwrite the weights of which chosen(tensor, place in it) says so.
  function damage(bench, kind, chosen) {
    let at = 0;
    bench.current = bench.current.slice();
    bench.subject.tensors.forEach((tensor, t) => {
      const n = size(tensor), original = bench.original.subarray(at, at + n);
      const spread = Math.sqrt(original.reduce((sum, v) => sum + v * v, 0) / n);
      for (let i = 0; i < n; i++) if (chosen(t, i)) bench.current[at + i] = KINDS[kind](bench.current[at + i], spread);
      at += n;
    });
    bench.wounds++;
    begin(bench);
  }

  // A key and a sentence that says plainly how the quine is.
  function verdict({ subject, line, current, printed, original, wounds }) {
    const generation = line.length - 1, now = line.at(-1), count = current.length.toLocaleString("en");
    const after = `after ${generation} generation${generation === 1 ? "" : "s"}`, limit = subject.roundOff;
    if (!current.every(Number.isFinite) || !printed.every(Number.isFinite)) return ["bad", `Dead ${after}: NaN or infinity among the weights.`];
    const changed = differing(current, original);
    if (!changed) return wounds ? ["good", `Healed ${after}: every bit is the original’s.`] : ["", "Undamaged: every bit is the original’s."];
    if (wounds && generation && now.distance <= 100 * limit && now.residual <= 100 * limit)
      return ["good", `Healed ${after}: back at the original up to round-off (distance ${now.distance.toExponential(0)}).`];
    if (now.residual <= limit && now.distance > FAR)
      return ["bad", `Not healed: ${after} it is another fixed point, at distance ${Page.number(now.distance, 2)}.`];
    if (!generation)
      return ["", `Damaged: ${changed.toLocaleString("en")} of ${count} weights differ from the original. Print the next generation.`];
    if (!wounds && now.distance <= FAR)
      return ["", `Undamaged, ${after}: distance ${Page.number(now.distance, 2)}; what grows is round-off.`];
    return ["bad", `Not healed ${after}: distance ${Page.number(now.distance, 2)}, still changing.`];
  }

  // -- what is drawn --------------------------------------------------------------------------------------------------

  function block(tensor) {
    const [rows, columns] = matrix(tensor);
    return [Math.ceil(rows / ROWS), Math.ceil(columns / COLUMNS)];
  }

  function cells(tensor, numbers) {
    const [rows, columns] = matrix(tensor), [down, across] = block(tensor);
    const [high, wide] = [Math.ceil(rows / down), Math.ceil(columns / across)], out = new Float64Array(high * wide);
    for (let i = 0; i < numbers.length; i++) {
      const k = Math.floor(Math.floor(i / columns) / down) * wide + Math.floor((i % columns) / across);
      if (!(Math.abs(numbers[i]) <= Math.abs(out[k])) && !Number.isNaN(out[k])) out[k] = numbers[i];
    }
    return out;
  }

  function layers({ subject, current, printed, original }) {
    let at = 0;
    return subject.tensors.filter(size).map((tensor) => {
      const n = size(tensor), part = (all) => all.subarray(at, at + n), [held, out] = [part(current), part(printed)];
      const gap = Float64Array.from(out, (v, i) => v - held[i]), [down, across] = block(tensor), [rows, columns] = matrix(tensor);
      const largest = gap.reduce((most, v) => (Math.abs(v) <= most ? most : Math.abs(v)), 0);
      const limit = part(original).reduce((most, v) => Math.max(most, Math.abs(v)), 0);
      at += n;
      return {
        name: tensor.name, shape: tensor.shape, rows: Math.ceil(rows / down), columns: Math.ceil(columns / across), block: [down, across],
        count: n, differing: differing(out, held), limit, largest: Number.isFinite(largest) ? largest : null,
        stored: cells(tensor, held), printed: cells(tensor, out), difference: cells(tensor, gap),
      };
    });
  }

  // The cell of the heat map in which a weight lies.
  function cellOf(tensor, i) {
    const [, columns] = matrix(tensor), [down, across] = block(tensor);
    return [Math.floor(Math.floor(i / columns) / down), Math.floor((i % columns) / across)];
  }

  return { lay, regenerate, reset, damage, verdict, layers, cellOf, differing, distance };
})();
