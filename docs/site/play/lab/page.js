// made by `make play` from src/neuralquine/lab/static/js/page.js: do not edit
"use strict";

const Page = (() => {
// What every room of the page shares: finding elements, saying what went wrong, numbers, colors.

const $ = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// One line at the top of the page; an empty one goes away.
function trouble(message = "") {
  $("trouble").textContent = message;
  $("trouble").hidden = !message;
}

// What follows from something else; an error becomes one line, and the line of another error stays.
async function reported(action, event) {
  try {
    await action(event);
  } catch (error) {
    trouble(error.message);
  }
}

// What a click does: the line of an earlier error goes away.
function guarded(action) {
  return (event) => {
    event?.preventDefault?.();
    trouble();
    return reported(action, event);
  };
}

const whole = (n) => n.toLocaleString("en");

function number(value, digits = 3) {
  if (value === null || value === undefined) return "not computed";
  const size = Math.abs(value);
  if (value === 0) return "0";
  return size < 1e-3 || size >= 1e5 ? value.toExponential(digits - 1) : String(Number(value.toPrecision(digits)));
}

// A sentence begins with a capital letter, whatever it begins with.
const sentence = (text) => `${text[0]?.toUpperCase() ?? ""}${text.slice(1)}`;

const percent = (share) => (share === null || share === undefined ? "–" : `${(100 * share).toFixed(1)} %`);

// A color of the style sheet, in the present theme.
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// Call back now and whenever the theme or the width changes what a canvas must show.
const painters = new Set();
function repaint(painter) {
  painters.add(painter);
  painter();
}
const all = () => painters.forEach((painter) => painter());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== width) all();
  width = innerWidth;
});

// A quine is put on the bench; every room is told.
const bench = { quine: null, view: null };
const put = (quine) => {
  bench.quine = quine;
  document.dispatchEvent(new CustomEvent("quine", { detail: quine }));
};
const onQuine = (room) => document.addEventListener("quine", (event) => reported(() => room(event.detail)));

return { $, make, svg, trouble, reported, guarded, whole, number, sentence, percent, color, repaint, bench, put, onQuine };
})();
