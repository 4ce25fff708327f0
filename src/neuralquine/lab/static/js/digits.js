// A quine at work: a digit is drawn on 8 by 8 cells, and read by the network whole and as it is now.

import { get, post } from "./api.js";
import { $, bench, color, guarded, make, onQuine, percent, repaint, reported } from "./page.js";

const SIDE = 8, FULL = 16, REACH = 1.35;
let ink = new Array(SIDE * SIDE).fill(0), cursor = { row: 3, column: 3 }, sample = false, samples = null;

export function openDigits() {
  const pad = $("pad");
  onQuine(show);
  document.addEventListener("view", () => {
    score = null;
    views += 1;
    reported(judge);
  });
  repaint(draw);
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    begin();
    stroke(event);
  });
  pad.addEventListener("pointermove", (event) => pad.hasPointerCapture(event.pointerId) && stroke(event));
  pad.addEventListener("keydown", keys);
  pad.addEventListener("focus", draw);
  pad.addEventListener("blur", draw);
  $("pad-clear").addEventListener("click", guarded(() => set(new Array(SIDE * SIDE).fill(0))));
  $("answers").tBodies[0].append(
    ...Array.from({ length: 10 }, (_, digit) => make("tr", {}, make("th", { scope: "row", textContent: digit }), bar(), bar())),
  );
}

const bar = () => make("td", {}, make("span", { className: "bar" }, make("span")), make("span"));
const working = () => bench.quine?.quine.task;

async function show(quine) {
  $("digits").hidden = !quine.quine.task;
  if (!quine.quine.task) return;
  samples = get(`/api/quines/${quine.id}/samples`);
  $("samples").replaceChildren(
    ...(await samples).map(({ digit }) => {
      const button = make("button", { type: "button", textContent: digit });
      button.setAttribute("aria-label", `sample of a ${digit}`);
      button.addEventListener("click", guarded(() => readSample(digit)));
      return button;
    }),
  );
  if (sample || ink.every((v) => v === 0)) await readSample(3);
}

function set(values) {
  sample = false;
  ink = [...values];
  draw();
  return judge();
}

// Put a digit that was never seen on the pad, and have it read.
export async function readSample(digit) {
  const reading = set((await samples)[digit].ink);
  sample = true;
  await reading;
}

// A sample makes room for the first stroke.
function begin() {
  if (sample) ink = ink.map(() => 0);
  sample = false;
}

function stroke(event) {
  const box = $("pad").getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * SIDE, y = ((event.clientY - box.top) / box.height) * SIDE;
  dab(y - 0.5, x - 0.5);
}

// Soft at the edge, like the scans the network was trained on.
function dab(row, column) {
  ink = ink.map((old, i) => {
    const distance = Math.hypot(Math.floor(i / SIDE) - row, (i % SIDE) - column);
    return Math.max(old, Math.round(FULL * Math.min(1, Math.max(0, REACH - distance))));
  });
  draw();
  guarded(judge)();
}

function keys(event) {
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  const inside = (v) => Math.max(0, Math.min(SIDE - 1, v));
  const at = () => cursor.row * SIDE + cursor.column;
  if (step) cursor = { row: inside(cursor.row + step[0]), column: inside(cursor.column + step[1]) };
  else if (event.key === " ") {
    begin();
    dab(cursor.row, cursor.column);
  } else if (event.key === "Delete" || event.key === "Backspace") guarded(() => set(ink.with(at(), 0)))();
  else return;
  event.preventDefault();
  $("pad-status").textContent = `row ${cursor.row + 1}, column ${cursor.column + 1}, ink ${ink[at()]} of ${FULL}`;
  draw();
}

function draw() {
  const pad = $("pad"), pen = pad.getContext("2d"), size = pad.width / SIDE;
  const [paper, pencil] = [color("paper"), color("ink")];
  ink.forEach((value, i) => {
    const cell = [(i % SIDE) * size, Math.floor(i / SIDE) * size, size, size];
    pen.globalAlpha = 1;
    pen.fillStyle = paper;
    pen.fillRect(...cell);
    pen.globalAlpha = value / FULL;
    pen.fillStyle = pencil;
    pen.fillRect(...cell);
  });
  pen.globalAlpha = 1;
  if (document.activeElement === pad) {
    pen.strokeStyle = color("accent");
    pen.lineWidth = 3;
    pen.strokeRect(cursor.column * size + 1.5, cursor.row * size + 1.5, size - 3, size - 3);
  }
}

// Requests follow the pointer, but never two at once; the accuracy is asked for when the weights have changed.
// What was on its way when another quine, or other weights, came is not told of these.
let judging = false, again = false, score = null, views = 0;
async function judge() {
  again = true;
  if (judging || !working()) return;
  judging = true;
  try {
    while (again && working()) {
      again = false;
      const { id } = bench.quine, before = views;
      const answers = await post(`/api/quines/${id}/read`, { ink });
      const found = score ?? (await get(`/api/quines/${id}/score`));
      if (views !== before || bench.quine.id !== id) continue;
      score = found;
      tell(answers);
    }
  } finally {
    judging = false;
  }
}

function tell(answers) {
  const best = {};
  for (const [column, name] of [[0, "original"], [1, "current"]]) {
    const shares = answers[name];
    best[name] = shares.includes(null) ? null : shares.indexOf(Math.max(...shares));
    [...$("answers").tBodies[0].rows].forEach((row, digit) => {
      const cell = row.querySelectorAll("td")[column];
      cell.firstChild.firstChild.style.setProperty("--share", shares[digit] ?? 0);
      cell.lastChild.textContent = percent(shares[digit]);
      cell.className = best[name] === digit ? "best" : "";
    });
  }
  const reads = (digit) => (digit === null ? "nothing, its answer is not a number" : `a ${digit}`);
  $("answers-status").textContent =
    `Undamaged it reads ${reads(best.original)}, as it is now ${reads(best.current)}.` +
    (score ? ` Of ${score.count} digits it never saw, it gets ${percent(score.original)} right undamaged and ${percent(score.current)} as it is now.` : "");
}
