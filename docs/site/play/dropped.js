// A dropped self.onnx: how it makes its answer is read first, then it is run here; what is only its own word is said.
"use strict";

const Dropped = (() => {
  const LARGEST = 64 << 20; // bytes of a file
  const FLOAT = 1, EPSILON = { 1: 2 ** -23, 11: 2 ** -52 };
  const OWN_WORD =
    "Not checked here, and so only the file’s own word: that the network between the weights and these numbers is the one that the " +
    "file describes, without an addition that makes any weights print themselves. “neuralquine verify self.onnx” writes the whole " +
    "graph again and compares every node.";

  // The quine of a file as a subject for the bench, with what was found true of it; throws where there is something against it.
  async function read(file) {
    if (file.size > LARGEST) throw new Error(`${file.name} is larger than ${LARGEST >> 20} MB, too large for this page.`);
    const bytes = new Uint8Array(await file.arrayBuffer());
    let found;
    try {
      found = Graph.examine(bytes);
    } catch (error) {
      throw new Error(`${file.name} is not what neuralquine exports: ${error.message}. Whatever it answers is only its own word, so it was not run.`);
    }
    const { weights, count, codeSize, seed, constant } = found, run = Runner.load(Onnx.readModel(bytes).graph, weights);
    const kind = weights[0].numbers.constructor, theta = new kind(count);
    let at = 0;
    for (const weight of weights) {
      theta.set(weight.numbers, at);
      at += weight.size;
    }
    const print = (held) => run(held, ["printed"])[0];
    const [printed, stored, says] = run(theta, ["printed", "stored", "is_quine"]);
    const differ = Bench.differing(printed, stored), moved = Bench.differing(print(theta.map((v) => -v).reverse()), printed);
    const shown = count.toLocaleString("en");
    const against =
      Boolean(says[0]) !== (differ === 0) ? `contradicts itself: it answers ${Boolean(says[0])}, but ${differ} of ${shown} weights are printed with other bits here.`
      : differ ? `is not a quine here: ${differ.toLocaleString("en")} of ${shown} weights are printed with other bits.`
      : !moved ? `is not a quine: it prints the same ${shown} weights whatever it holds.`
      : constant ? `prints ${constant.toLocaleString("en")} of its ${shown} weights from constants.`
      : "";
    return {
      title: file.name,
      against: against && `${file.name} ${against}`,
      checked: [
        "The file uses only the operators that neuralquine exports, holds no other code, and reads nothing outside itself.",
        "Its answer is computed, by comparing every bit of what it prints with what it stores.",
        `What it stores is all ${shown} weights of its ${weights.length} tensors, and nothing else.`,
        `What it prints is made from ${codeSize} numbers on a grid by the table of seed ${seed}, which was computed again here.`,
        "These numbers depend on every tensor of weights, and no other tensor holds a copy of eight weights in a row.",
        `Run once more with other weights, it printed ${moved.toLocaleString("en")} of ${shown} otherwise.`,
      ],
      word: OWN_WORD,
      tensors: weights.map((w) => ({ name: w.name, shape: w.dims })),
      theta,
      print,
      roundOff: 40 * EPSILON[weights[0].type === FLOAT ? 1 : 11],
    };
  }

  return { read };
})();
