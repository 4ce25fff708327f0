// The page: buttons, the bench, pictures. What is computed is in the other files.
"use strict";

(() => {
  const { $, guarded, make, number, percent, repaint, whole } = Page;
  const BETA = 0.1, RUN = 40, PAUSE = 60, ZOO = 40, MOST_STARTS = 400;
  const ROUND_OFF = 9e-15; // relative residual up to which a float64 quine has converged, as the package judges
  let bench = null, net = null, busy = 0, going = false, stroke = [];
  const breathe = () => new Promise((resume) => setTimeout(resume)); // the page is drawn, and clicks are heard
  const seed = () => {
    const value = Number($("seed").value);
    if (!Number.isSafeInteger(value) || value < 0) throw new Error("the seed must be a whole number of at least 0");
    return value;
  };

  // -- finding --------------------------------------------------------------------------------------------------------

  // A search that a later click ends.
  function turn() {
    const mine = ++busy;
    going = false;
    return async () => {
      await breathe();
      if (mine !== busy) throw new Stopped();
    };
  }
  class Stopped extends Error {}
  const quietly = (action) => guarded(async (event) => {
    try {
      await action(event);
    } catch (error) {
      if (!(error instanceof Stopped)) throw error;
    }
  });

  const say = (text) => ($("found-status").textContent = text);

  async function fixedPoint(network, from, still) {
    for (let tried = 1; tried <= MOST_STARTS; tried++) {
      await still();
      say(`Newton’s method from start ${tried} …`);
      const code = Search.newton(network, from.next().value);
      if (code) return { code, tried };
    }
    throw new Error("no fixed point was found: try another seed");
  }

  async function smooth(beta) {
    const still = turn(), network = Network.make(seed(), { beta }), started = performance.now();
    const { code, tried } = await fixedPoint(network, Search.starts(network), still);
    const seconds = (performance.now() - started) / 1000;
    put(network, code, `${beta === null ? "The post’s network" : "The post’s network, anchored"}, seed ${network.seed}`);
    say(`Found in ${number(seconds, 2)} s, from start ${tried}.`);
  }

  async function exact() {
    const still = turn(), network = Network.make(seed()), from = Search.starts(network), known = [], started = performance.now();
    for (let phases = 0; known.length < MOST_STARTS; ) {
      const { code } = await fixedPoint(network, from, still), chances = Search.odds(network, code);
      if (Search.known(known, code)) continue;
      known.push(code);
      if (chances > Search.HOPELESS) continue;
      for (const found of Search.exactAround(network, code)) {
        if (++phases % 4 === 0) await still();
        say(`${known.length} fixed points, ${whole(phases)} grids moved about; one in ${whole(Math.round(chances))} has an exact quine near this one …`);
        if (!(found?.reserve > Search.ROBUST)) continue;
        const { code: point, bits, phase } = found, seconds = (performance.now() - started) / 1000;
        put(Network.make(network.seed, { bits, phase }), point, `The post’s network to the last bit, seed ${network.seed}`);
        return say(`Found in ${number(seconds, 2)} s: grid 2^-${bits}${phase ? `, phase ${phase}` : ""}.`);
      }
    }
    throw new Error("no exact quine was found: try another seed");
  }

  // -- the bench ------------------------------------------------------------------------------------------------------

  function put(network, code, title) {
    net = network;
    const theta = net.expand(code);
    lay({ title, tensors: net.tensors, theta, print: (held) => net.print(held), roundOff: ROUND_OFF });
    const state = net.run(theta), radii = Linear.eigenvalues(net.jacobian(theta, state)), radius = Math.hypot(...radii[0]);
    const differ = Bench.differing(bench.printed, theta), residual = bench.line[0].residual;
    const good = net.bits === null ? residual <= ROUND_OFF : differ === 0;
    $("facts-verdict").className = good ? "good" : "bad";
    $("facts-verdict").textContent = !good
      ? "Not a quine: what it prints differs from what it holds."
      : differ
        ? "A quine up to round-off: what it prints is what it holds, but for the last bits."
        : "A quine: every bit of the 1,020 weights that it prints is the one that it holds.";
    figures([
      ["relative residual", number(residual)],
      ["printed with other bits", `${whole(differ)} of 1,020`],
      ["RMS weight", number(Linear.norm(theta) / Math.sqrt(theta.length))],
      ["self-sensitivity", number(net.sensitivity(theta, state)), "0 would be a printed constant"],
      ["spectral radius", number(radius), radius < 1 ? "attracts" : "repels"],
      ["code", "20 numbers", net.bits === null ? "no grid" : `grid 2^-${net.bits}${net.phase ? `, phase ${net.phase}` : ""}`],
    ]);
    $("fate").textContent = Plots.fate(radius, differ === 0);
    $("snippet").textContent = snippet(code);
    $("again").hidden = false;
    $("checked").hidden = true;
    $("spectrum").hidden = false;
    $("spectrum-text").textContent = `${Plots.spectrumWords(radii)} Spectral radius ${number(radius)}.`;
    $("spectrum-plot").replaceChildren(Plots.spectrumPlot(radii, $("spectrum-text").textContent));
    $("zoo").hidden = net.beta !== null;
    if ($("zoo").dataset.seed !== String(net.seed)) {
      $("zoo-plot").replaceChildren();
      $("zoo-status").textContent = "";
    }
  }

  const figures = (rows) =>
    $("figures").replaceChildren(
      ...rows.map(([name, value, about]) =>
        make("div", {}, make("dt", { textContent: name }), make("dd", {}, value, ...(about ? [make("small", { textContent: about })] : []))),
      ),
    );

  function lay(subject) {
    going = false;
    bench = Bench.lay(subject);
    stroke = subject.tensors.map(() => new Set());
    $("facts").hidden = $("wounds").hidden = false;
    $("facts-title").textContent = subject.title;
    Heat.build($("maps"), Bench.layers(bench), paint);
    draw();
  }

  function draw() {
    if (!bench) return;
    Heat.fill($("maps"), Bench.layers(bench));
    const points = bench.line.map(({ distance }, i) => [i, Number.isFinite(distance) ? distance : null]);
    Chart.logChart($("line-chart"), points, { floor: bench.subject.roundOff, xName: "generation" });
    const [kind, sentence] = Bench.verdict(bench);
    Object.assign($("line-status"), { textContent: sentence, className: kind });
  }

  // Numbers as Python reads them; the codes of a grid are short.
  function snippet(code) {
    const setting = net.bits === null ? "" : `quine.code_bits = ${net.bits}\n` + (net.phase ? `quine.code_phase = ${net.phase}\n` : "");
    const anchored = net.beta === null ? "" : `quine = nq.Quine(quine.trunk, quine.inputs, code_size=20, seed=${net.seed}, alpha=0.25, skip=${net.beta})\n`;
    return (
      `import torch, neuralquine as nq\n\nquine = nq.recipe("blog", seed=${net.seed})\n${anchored}${setting}` +
      `code = [${Array.from(code).join(", ")}]\nquine.theta = quine.expand(torch.tensor(code, dtype=torch.float64))\nprint(nq.verify(quine))\n`
    );
  }

  function paint(index, row, column) {
    const reach = Number($("brush").value), view = $("maps").children[index].layer;
    for (let r = row - reach; r <= row + reach; r++)
      for (let c = column - reach; c <= column + reach; c++)
        if (r >= 0 && c >= 0 && r < view.rows && c < view.columns) {
          stroke[index].add(`${r},${c}`);
          Heat.mark($("maps"), index, r, c, view);
        }
  }

  function painted() {
    if (!stroke.some((cells) => cells.size)) return;
    going = false;
    Bench.damage(bench, $("wound-kind").value, (t, i) => stroke[t].has(Bench.cellOf(bench.subject.tensors[t], i).join()));
    stroke.forEach((cells) => cells.clear());
    draw();
  }

  async function run() {
    going = !going;
    const mine = bench;
    $("run").setAttribute("aria-pressed", String(going));
    $("run").textContent = going ? "Stop" : `Run ${RUN}`;
    for (let i = 0; going && mine === bench && i < RUN; i++) {
      const changed = Bench.regenerate(bench);
      draw();
      if (!changed || Bench.verdict(bench)[0] === "good") break;
      await new Promise((resume) => setTimeout(resume, PAUSE));
    }
    going = false;
    $("run").setAttribute("aria-pressed", "false");
    $("run").textContent = `Run ${RUN}`;
  }

  // -- the zoo and files ----------------------------------------------------------------------------------------------

  async function zoo() {
    const still = turn(), network = Network.make(net.seed), from = Search.starts(network), codes = [];
    for (let tried = 1; tried <= ZOO; tried++) {
      await still();
      $("zoo-status").textContent = `start ${tried} of ${ZOO}: ${codes.length} found so far`;
      const code = Search.newton(network, from.next().value);
      if (code && !Search.known(codes, code)) codes.push(code);
    }
    $("zoo").dataset.seed = network.seed;
    if (!codes.length) return ($("zoo-status").textContent = "none was found from these starting points");
    const quines = codes.map((code) => ({ code, spectral_radius: Math.hypot(...Linear.eigenvalues(network.jacobian(network.expand(code)))[0]) }));
    quines.sort((a, b) => a.spectral_radius - b.spectral_radius);
    Linear.plane(quines.map((q) => q.code)).forEach((at, i) => (quines[i].at = at));
    const attracting = quines.filter((q) => q.spectral_radius < 1).length;
    $("zoo-status").textContent = `${quines.length} distinct quines from ${ZOO} starts; ${attracting} of them attract${attracting === 1 ? "s" : ""}.`;
    $("zoo-plot").replaceChildren(
      ...Plots.zooPlot(quines, null, (i) => {
        turn();
        put(network, quines[i].code, `The post’s network, seed ${network.seed}, number ${i + 1} of its zoo`);
      }),
    );
  }

  async function check(file) {
    if (!file) return;
    const still = turn();
    Object.assign($("check-status"), { textContent: `${file.name}: reading and running …`, className: "" });
    await still();
    try {
      const subject = await Dropped.read(file);
      await still();
      lay(subject);
      const good = !subject.against;
      const text = good ? `${subject.title} prints its own weights, also here: ${whole(subject.theta.length)} weights, 0 with other bits.` : subject.against;
      for (const id of ["facts-verdict", "check-status"]) Object.assign($(id), { textContent: text, className: good ? "good" : "bad" });
      figures([["weights", whole(subject.theta.length)], ["tensors", whole(subject.tensors.length)]]);
      $("check-list").replaceChildren(...subject.checked.map((sentence) => make("li", { textContent: sentence })));
      $("check-word").textContent = subject.word;
      $("checked").hidden = false;
      $("fate").textContent = "";
      $("again").hidden = $("spectrum").hidden = $("zoo").hidden = true;
      $("facts").scrollIntoView();
    } catch (error) {
      if (error instanceof Stopped) throw error;
      Object.assign($("check-status"), { textContent: error.message, className: "bad" });
    }
  }

  // -- wiring ---------------------------------------------------------------------------------------------------------

  $("find-smooth").addEventListener("click", quietly(() => smooth(null)));
  $("find-anchored").addEventListener("click", quietly(() => smooth(BETA)));
  $("find-exact").addEventListener("click", quietly(exact));
  $("zoo-find").addEventListener("click", quietly(zoo));
  $("share").addEventListener("input", () => {
    $("share-shown").textContent = percent($("share").value / 100).replace(".0", "");
    $("wound").textContent = `Damage ${$("share").value} %`;
  });
  $("wound-form").addEventListener("submit", guarded(() => {
    going = false;
    const share = $("share").value / 100;
    Bench.damage(bench, $("wound-kind").value, () => Math.random() < share);
    draw();
  }));
  $("next").addEventListener("click", guarded(() => {
    going = false;
    Bench.regenerate(bench);
    draw();
  }));
  $("run").addEventListener("click", guarded(run));
  $("reset").addEventListener("click", guarded(() => {
    going = false;
    Bench.reset(bench);
    draw();
  }));
  $("maps").addEventListener("stroke", guarded(painted));
  $("onnx-file").addEventListener("change", quietly(() => check($("onnx-file").files[0])));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    $("drop").classList.add("over");
  });
  addEventListener("dragleave", () => $("drop").classList.remove("over"));
  addEventListener("drop", quietly((event) => {
    event.preventDefault();
    $("drop").classList.remove("over");
    return check(event.dataTransfer.files[0]);
  }));
  // In the repository the documents are Markdown, two folders up.
  if (location.pathname.includes("/docs/site/play/"))
    for (const link of document.querySelectorAll("footer a"))
      link.href = link.getAttribute("href").replace("../docs/", "../../").replace(".html", ".md");
  repaint(draw);
  quietly(exact)(); // something good is there before the first click
})();
