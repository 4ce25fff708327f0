// The fixed tables of the expansions, made from a seed as everywhere: Philox4x32-10 of Salmon and others (2011).

const GAUSSIAN = 1, SIGNS = 5, PHASES = 11; // streams of a seed
const ROUNDS = 10;

// The high and the low word of a product of two 32-bit words.
function product(a, b, out) {
  const [ah, al, bh, bl] = [a >>> 16, a & 0xffff, b >>> 16, b & 0xffff];
  const u = ah * bl + ((al * bl) >>> 16);
  const v = al * bh + (u & 0xffff);
  out[0] = (ah * bh + (u >>> 16) + (v >>> 16)) >>> 0;
  out[1] = Math.imul(a, b) >>> 0;
}

// Gives word i of one stream of a seed; neighbours cost nothing.
export function words(seed, stream) {
  const block = new Uint32Array(4), left = [0, 0], right = [0, 0];
  let made = -1;
  return (i) => {
    const counter = Math.floor(i / 4);
    if (counter !== made) {
      let [c0, c1, c2, c3] = [counter >>> 0, Math.floor(counter / 2 ** 32), stream, 0];
      let [k0, k1] = [seed % 2 ** 32, Math.floor(seed / 2 ** 32)];
      for (let round = 0; round < ROUNDS; round++) {
        product(c0, 0xd2511f53, left);
        product(c2, 0xcd9e8d57, right);
        [c0, c1, c2, c3] = [(right[0] ^ c1 ^ k0) >>> 0, right[1], (left[0] ^ c3 ^ k1) >>> 0, left[1]];
        [k0, k1] = [(k0 + 0x9e3779b9) >>> 0, (k1 + 0xbb67ae85) >>> 0];
      }
      block.set([c0, c1, c2, c3]);
      made = counter;
    }
    return block[i % 4];
  };
}

export function ones(word) {
  word -= (word >>> 1) & 0x55555555;
  word = (word & 0x33333333) + ((word >>> 2) & 0x33333333);
  return Math.imul((word + (word >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

// The offset of each number of a code in one phase, in grid steps: a multiple of 1/8.
export function offset(seed, phase, size) {
  const word = words(seed, PHASES);
  return Array.from({ length: size }, (_, i) => (word(phase * size + i) >>> 29) / 8);
}

// Of each expansion: four times the entry of a row and a column, a whole number, for a seed and a size of the code.
export const TABLES = {
  gaussian(seed, size) {
    const word = words(seed, GAUSSIAN);
    return (row, column) => {
      const entry = 2 * (row * size + column);
      return ones(word(entry)) + ones(word(entry + 1)) - 32;
    };
  },
  hadamard(seed, size) {
    const word = words(seed, SIGNS);
    const block = Math.max(8, 2 ** Math.ceil(Math.log2(size)));
    return (row, column) => {
      const bit = Math.floor(row / block) * block + column;
      const minus = ones((row % block) & column) + (word(Math.floor(bit / 32)) >>> (bit % 32));
      return minus % 2 ? -4 : 4;
    };
  },
};
