// Finding fixed points of the code's map g(c) = code(E(c)), and points of a grid that it prints again bit for bit.
"use strict";

const Search = (() => {
  const STARTS = 77; // the page's own stream of a seed, from which no table is made
  const STEPS = 40, SHORTEST = 2 ** -6; // of Newton's method and its line search
  const APART = 1e-6, CLOSE = 3e-14; // relative to the code's length
  const GRIDS = [8, 10, 12, 14]; // bits: fine enough for the map to be nearly straight, far above any machine's round-off
  const ROBUST = 1e-8; // distance to a rounding boundary, in units of the code
  const HOPELESS = 20000, MOST_PHASES = 4000, PATIENCE = 2; // of odds() above which a fixed point is left; phases tried
  const NODES = 400000; // of one enumeration
  const SIDE = 1.06; // of the cube: a little above 1, because the map bends

  // Codes of the size of the network's own.
  function* starts(net) {
    const word = Tables.words(net.seed, STARTS);
    for (let i = 0; ; ) {
      const c = Float64Array.from({ length: net.size }, () => {
        const [u, v] = [(word(i++) + 1) / 2 ** 32, word(i++) / 2 ** 32];
        return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v);
      });
      const middle = c.reduce((sum, v) => sum + v, 0) / c.length, length = Linear.norm(c.map((v) => v - middle));
      yield c.map((v) => ((v - middle) * Math.sqrt(c.length)) / length);
    }
  }

  // I - J: how far a small change of a code and what the map makes of it lie apart.
  function away(net, c) {
    const j = net.jacobian(net.expand(c));
    return j.map((row, i) => row.map((v, k) => (i === k ? 1 : 0) - v));
  }

  const residual = (net, c) => net.run(net.expand(c)).code.map((v, i) => v - c[i]);

  // Newton's method with a line search from one start; null where it does not arrive. `seen` is told every length.
  function newton(net, start, seen = () => {}) {
    let [c, r] = [start, residual(net, start)];
    for (let turn = 0; turn < STEPS; turn++) {
      const size = Linear.norm(r), length = Linear.norm(c);
      seen(size / length);
      if (size <= CLOSE * length) return polished(net, c, r);
      const { x: step } = Linear.solve(away(net, c), r);
      if (!step) return null;
      let [factor, next, after] = [2, null, null];
      do {
        factor /= 2;
        next = c.map((v, i) => v + factor * step[i]);
        after = residual(net, next);
      } while (!(Linear.norm(after) < (1 - factor / 4) * size) && factor > SHORTEST);
      if (!(Linear.norm(after) < 10 * size)) return null;
      [c, r] = [next, after];
    }
    return null;
  }

  // The best of a few more steps at round-off.
  function polished(net, c, r) {
    for (let turn = 0; turn < 3; turn++) {
      const next = net.run(net.expand(c)).code, { x: step } = Linear.solve(away(net, c), next.map((v, i) => v - c[i]));
      if (!step) break;
      const moved = c.map((v, i) => v + step[i]), after = residual(net, moved);
      if (!(Linear.norm(after) < Linear.norm(r))) break;
      [c, r] = [moved, after];
    }
    return c;
  }

  const known = (list, c) => list.some((d) => Linear.norm(d.map((v, i) => v - c[i])) <= APART * Linear.norm(c));

  // Integer points x with |B x - t| <= side / 2 in every coordinate, most of them: Fincke and Pohst, depth first, with bounds
  // from the distribution of a point of the cube, as in the package.
  function pointsInCube(basis, target) {
    const d = target.length, { q, r } = Linear.qr(basis), goal = q.map((column) => column.reduce((sum, v, i) => sum + v * target[i], 0));
    const whole = d / 12 + 3 * Math.sqrt(d / 180) + 0.3, found = [], x = new Float64Array(d);
    let nodes = 0;
    const descend = (i, squared) => {
      if (++nodes > NODES) return;
      if (i < 0) {
        const y = Linear.apply(basis, x);
        if (y.every((v, k) => Math.abs(v - target[k]) <= SIDE / 2)) found.push(Float64Array.from(x));
        return;
      }
      const level = d - i, partial = level / 12 + 3 * Math.sqrt(level / 72) + 0.25;
      let rest = goal[i];
      for (let j = i + 1; j < d; j++) rest -= x[j] * r[i][j];
      const center = rest / r[i][i], left = Math.min(whole, partial) * SIDE * SIDE - squared;
      const reach = Math.sqrt(Math.max(left, 0)) / Math.abs(r[i][i]);
      for (let v = Math.ceil(center - reach); v <= center + reach; v++) {
        x[i] = v;
        descend(i - 1, squared + (r[i][i] * (v - center)) ** 2);
      }
      x[i] = 0;
    };
    descend(d - 1, 0);
    return found;
  }

  // Whether the network that holds the code of the whole numbers x computes x again when it rounds: with the distance to the
  // nearest boundary, in units of the code.
  function checked(net, x, bits, offset) {
    const scale = 2 ** bits, code = x.map((v, i) => (v + offset[i]) / scale);
    const image = net.run(net.expand(code)).code.map((v, i) => v * scale - offset[i]);
    if (!image.every((v, i) => Network.rint(v) === x[i])) return null;
    return { code, bits, reserve: (0.5 - Math.max(...image.map((v, i) => Math.abs(v - x[i])))) / scale };
  }

  // Points near a fixed point that are printed bit for bit, phase by phase; null where a phase has none. Every grid of every
  // phase is one more chance of one in odds().
  function* exactAround(net, c) {
    const basis = away(net, c), center = Linear.apply(basis, c), chances = odds(net, c);
    for (let phase = 0; phase < Math.min(MOST_PHASES, PATIENCE * chances); phase++) {
      const offset = Network.offset(net.seed, phase), start = Linear.apply(basis, offset);
      let best = null;
      for (const bits of GRIDS)
        for (const x of pointsInCube(basis, center.map((v, i) => v * 2 ** bits - start[i]))) {
          const found = checked(net, x, bits, offset);
          if (found && !(best?.reserve > found.reserve)) best = { ...found, phase };
        }
      yield best;
    }
  }

  // One in so many grids has a point near this fixed point that is printed again.
  const odds = (net, c) => Math.abs(Linear.solve(away(net, c), c).determinant);

  return { starts, newton, known, exactAround, odds, HOPELESS, ROBUST };
})();
