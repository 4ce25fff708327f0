// made by `make play` from src/neuralquine/lab/static/js/chart.js: do not edit
"use strict";

const Chart = (() => {
// A line on a logarithmic axis, on a canvas. The words beside it say the same to those who do not see it.

const { color } = Page;

const LEFT = 44, BOTTOM = 30, TOP = 10, RIGHT = 12;

// points: [x, y, z] with y > 0, or 0, or null where it is infinite; z, where given, is a quiet line behind. floor: a dashed line with a name.
function logChart(canvas, points, { floor = null, floorName = "round-off", xName }) {
  const ratio = devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (!width) return;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.font = "12px system-ui, sans-serif";

  const positive = points.flatMap(([, ...ys]) => ys).filter((y) => y > 0);
  const zero = points.some(([, y]) => y === 0);
  const reach = positive.length ? [...positive, floor ?? positive[0]] : [1, floor ?? 1e-15];
  const high = Math.ceil(Math.log10(Math.max(...reach)) + 0.2);
  const low = Math.min(high - 2, Math.floor(Math.log10(Math.min(...reach)))) - (zero ? 2 : 0);
  const last = Math.max(1, ...points.map(([x]) => x));
  const right = width - RIGHT, bottom = height - BOTTOM;
  const px = (x) => LEFT + (x / last) * (right - LEFT);
  // Exactly 0 has no place on a logarithmic axis: it lies on the bottom, under its own name.
  const py = (y) => (y === 0 ? bottom : TOP + ((high - Math.log10(y)) / (high - low)) * (bottom - TOP));

  pen.strokeStyle = color("line");
  pen.fillStyle = color("quiet");
  pen.lineWidth = 1;
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  const step = Math.max(1, Math.ceil((high - low) / 6));
  for (let power = high; power >= low; power -= step) {
    const y = py(10 ** power);
    pen.beginPath();
    pen.moveTo(LEFT, y);
    pen.lineTo(right, y);
    pen.stroke();
    const name = zero && power === low ? "0" : power === 0 ? "1" : `1e${power}`;
    pen.fillText(name, LEFT - 7, y);
  }
  if (zero && (high - low) % step) pen.fillText("0", LEFT - 7, bottom);
  pen.textBaseline = "top";
  pen.textAlign = "left";
  pen.fillText("0", LEFT, bottom + 7);
  pen.textAlign = "right";
  pen.fillText(`${last} ${xName}${last === 1 ? "" : "s"}`, right, bottom + 7);
  if (floor !== null) {
    pen.setLineDash([4, 4]);
    pen.strokeStyle = color("quiet");
    pen.beginPath();
    pen.moveTo(LEFT, py(floor));
    pen.lineTo(right, py(floor));
    pen.stroke();
    pen.setLineDash([]);
    pen.textAlign = "left"; // a falling line ends on the right
    pen.textBaseline = "bottom";
    pen.fillText(floorName, LEFT + 4, py(floor) - 3);
  }
  pen.lineJoin = "round";
  const line = (which) => {
    pen.beginPath();
    let drawing = false;
    for (const point of points) {
      const x = point[0], y = point[which] ?? null;
      if (y === null) drawing = false;
      else {
        pen[drawing ? "lineTo" : "moveTo"](px(x), py(y));
        drawing = true;
      }
    }
    pen.stroke();
  };
  pen.strokeStyle = color("quiet");
  pen.lineWidth = 1;
  line(2);
  pen.strokeStyle = pen.fillStyle = color("accent");
  pen.lineWidth = 2;
  line(1);
  const marked = points.length <= 60 ? points : points.slice(-1);
  for (const [x, y] of marked) {
    if (y === null) continue;
    pen.beginPath();
    pen.arc(px(x), py(y), 2.5, 0, 2 * Math.PI);
    pen.fill();
  }
}

return { logChart };
})();
