// Linear algebra of a few dozen dimensions. Matrices are arrays of rows.
"use strict";

const Linear = (() => {
  const identity = (n) => Array.from({ length: n }, (_, i) => Float64Array.from({ length: n }, (_, j) => (i === j ? 1 : 0)));
  const multiply = (a, b) => a.map((row) => Float64Array.from(b[0], (_, j) => row.reduce((sum, v, k) => sum + v * b[k][j], 0)));
  const transpose = (a) => Array.from(a[0], (_, j) => Float64Array.from(a, (row) => row[j]));
  const apply = (a, x) => Float64Array.from(a, (row) => row.reduce((sum, v, k) => sum + v * x[k], 0));
  const norm = (x) => Math.sqrt(x.reduce((sum, v) => sum + v * v, 0));

  // x with A x = b, and the determinant, by Gaussian elimination with row exchanges; x is null where A is singular.
  function solve(matrix, right) {
    const n = right.length, a = matrix.map((row) => Float64Array.from(row)), b = Float64Array.from(right);
    let determinant = 1;
    for (let k = 0; k < n; k++) {
      let pivot = k;
      for (let i = k + 1; i < n; i++) if (Math.abs(a[i][k]) > Math.abs(a[pivot][k])) pivot = i;
      if (pivot !== k) {
        [a[k], a[pivot]] = [a[pivot], a[k]];
        [b[k], b[pivot]] = [b[pivot], b[k]];
        determinant = -determinant;
      }
      determinant *= a[k][k];
      if (!(Math.abs(a[k][k]) > 0)) return { x: null, determinant: 0 };
      for (let i = k + 1; i < n; i++) {
        const factor = a[i][k] / a[k][k];
        if (factor === 0) continue;
        for (let j = k; j < n; j++) a[i][j] -= factor * a[k][j];
        b[i] -= factor * b[k];
      }
    }
    for (let i = n - 1; i >= 0; i--) {
      for (let j = i + 1; j < n; j++) b[i] -= a[i][j] * b[j];
      b[i] /= a[i][i];
    }
    return { x: b, determinant };
  }

  // A = Q R by Gram and Schmidt, twice for orthogonality; gives the columns of Q, and R.
  function qr(matrix) {
    const columns = transpose(matrix), n = columns.length, r = identity(n).map((row) => row.fill(0));
    const q = [];
    for (let k = 0; k < n; k++) {
      const v = Float64Array.from(columns[k]);
      for (let pass = 0; pass < 2; pass++)
        for (let j = 0; j < k; j++) {
          const along = v.reduce((sum, x, i) => sum + x * q[j][i], 0);
          r[j][k] += along;
          for (let i = 0; i < v.length; i++) v[i] -= along * q[j][i];
        }
      r[k][k] = norm(v);
      q.push(v.map((x) => x / r[k][k]));
    }
    return { q, r };
  }

  // All eigenvalues [re, im] of a real matrix: Hessenberg form, then the complex QR iteration with Wilkinson's shifts.
  function eigenvalues(matrix) {
    const h = hessenberg(matrix).map((row) => Array.from(row, (v) => [v, 0])), found = [];
    let n = h.length, turns = 0;
    while (n > 0) {
      const small = (i) => size(h[i][i - 1]) <= 1e-15 * (size(h[i][i]) + size(h[i - 1][i - 1]));
      if (n === 1 || small(n - 1)) {
        found.push(h[n - 1][n - 1]);
        n--;
        turns = 0;
        continue;
      }
      let low = n - 1;
      while (low > 0 && !small(low)) low--;
      if (++turns > 300) throw new Error("the eigenvalues do not converge");
      step(h, low, n, turns % 11 === 10 ? [size(h[n - 1][n - 2]), 0] : shift(h, n));
    }
    return found.sort((a, b) => size(b) - size(a));
  }

  const add = (a, b) => [a[0] + b[0], a[1] + b[1]];
  const minus = (a, b) => [a[0] - b[0], a[1] - b[1]];
  const times = (a, b) => [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]];
  const size = (a) => Math.hypot(a[0], a[1]);
  const conjugate = (a) => [a[0], -a[1]];
  function root([re, im]) {
    const length = Math.hypot(re, im), real = Math.sqrt((length + Math.abs(re)) / 2);
    if (real === 0) return [0, 0];
    return re >= 0 ? [real, im / (2 * real)] : [Math.abs(im) / (2 * real), im < 0 ? -real : real];
  }

  // The eigenvalue of the last two by two that is nearer to its corner.
  function shift(h, n) {
    const [a, b, c, d] = [h[n - 2][n - 2], h[n - 2][n - 1], h[n - 1][n - 2], h[n - 1][n - 1]];
    const half = times([0.5, 0], minus(a, d)), spread = root(add(times(half, half), times(b, c)));
    const middle = times([0.5, 0], add(a, d));
    const [one, two] = [add(middle, spread), minus(middle, spread)];
    return size(minus(one, d)) < size(minus(two, d)) ? one : two;
  }

  function step(h, low, n, mu) {
    const turns = [];
    for (let i = low; i < n; i++) h[i][i] = minus(h[i][i], mu);
    for (let i = low; i < n - 1; i++) {
      const [a, b] = [h[i][i], h[i + 1][i]], length = Math.hypot(size(a), size(b)) || 1;
      const [c, s] = [times([1 / length, 0], a), times([1 / length, 0], b)];
      turns.push([c, s]);
      for (let j = i; j < n; j++) {
        const [x, y] = [h[i][j], h[i + 1][j]];
        h[i][j] = add(times(conjugate(c), x), times(conjugate(s), y));
        h[i + 1][j] = minus(times(c, y), times(s, x));
      }
    }
    turns.forEach(([c, s], k) => {
      const j = low + k;
      for (let i = low; i <= Math.min(j + 1, n - 1); i++) {
        const [x, y] = [h[i][j], h[i][j + 1]];
        h[i][j] = add(times(x, c), times(y, s));
        h[i][j + 1] = minus(times(y, conjugate(c)), times(x, conjugate(s)));
      }
    });
    for (let i = low; i < n; i++) h[i][i] = add(h[i][i], mu);
  }

  function hessenberg(matrix) {
    const h = matrix.map((row) => Float64Array.from(row)), n = h.length;
    for (let k = 1; k < n - 1; k++) {
      let pivot = k;
      for (let i = k + 1; i < n; i++) if (Math.abs(h[i][k - 1]) > Math.abs(h[pivot][k - 1])) pivot = i;
      if (h[pivot][k - 1] === 0) continue;
      [h[k], h[pivot]] = [h[pivot], h[k]];
      for (const row of h) [row[k], row[pivot]] = [row[pivot], row[k]];
      for (let i = k + 1; i < n; i++) {
        const factor = h[i][k - 1] / h[k][k - 1];
        if (factor === 0) continue;
        for (let j = k - 1; j < n; j++) h[i][j] -= factor * h[k][j];
        for (const row of h) row[k] += factor * row[i];
      }
    }
    return h;
  }

  // The two directions in which points differ most, by power iteration; each point's place on them, from -1 to 1.
  function plane(points) {
    const d = points[0].length;
    const mean = Float64Array.from({ length: d }, (_, j) => points.reduce((sum, p) => sum + p[j], 0) / points.length);
    const centered = points.map((p) => p.map((v, j) => v - mean[j]));
    const axes = [];
    for (let a = 0; a < 2; a++) {
      let axis = Float64Array.from({ length: d }, (_, j) => Math.cos(1 + (a + 1) * j));
      for (let turn = 0; turn < 300; turn++) {
        const next = new Float64Array(d);
        for (const p of centered) {
          const along = p.reduce((sum, v, j) => sum + v * axis[j], 0);
          for (let j = 0; j < d; j++) next[j] += along * p[j];
        }
        for (const done of axes) {
          const along = next.reduce((sum, v, j) => sum + v * done[j], 0);
          for (let j = 0; j < d; j++) next[j] -= along * done[j];
        }
        const length = norm(next);
        if (!(length > 0)) break;
        axis = next.map((v) => v / length);
      }
      axes.push(axis);
    }
    const flat = centered.map((p) => axes.map((axis) => p.reduce((sum, v, j) => sum + v * axis[j], 0)));
    const reach = Math.max(1e-9, ...flat.flat().map(Math.abs));
    return flat.map((p) => p.map((v) => v / reach));
  }

  return { identity, multiply, transpose, apply, norm, solve, qr, eigenvalues, plane };
})();
