"use strict";

const byId = (id) => document.getElementById(id);

/** An element with attributes and children; texts become text, never HTML. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function makeSvg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** A piece for a reader: the mark of a space is a visible, narrow one. */
const shown = (piece) => piece.replace(/^\u2581(?=.)/, "\u2009").replace(/\u2581/g, "␣");

/** One colour of the scale from nothing to 1, on the square root, as text for CSS. */
function shade(share) {
  const style = getComputedStyle(document.documentElement);
  const [low, high] = ["--low", "--high"].map((name) =>
    style.getPropertyValue(name).trim().split(/\s+/).map(Number));
  const at = Math.sqrt(Math.min(1, Math.max(0, share)));
  return `rgb(${low.map((x, i) => Math.round(x + at * (high[i] - x))).join(" ")})`;
}

/**
 * Lets the arrow keys move the focus among the buttons of a group, of which one is
 * reached by Tab. `columns` is how many make a row; 1 for a list.
 */
function roving(group, columns, selector = "button") {
  const buttons = () => [...group.querySelectorAll(selector)];
  group.addEventListener("keydown", (event) => {
    const all = buttons(), at = all.indexOf(event.target);
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns,
      Home: -at, End: all.length - 1 - at }[event.key];
    if (step === undefined || at < 0) return;
    event.preventDefault();
    const next = all[at + step];
    if (next) next.focus();
  });
  group.addEventListener("focusin", (event) => {
    if (!event.target.matches(selector)) return;
    for (const button of buttons()) button.tabIndex = button === event.target ? 0 : -1;
  });
  buttons().forEach((button, i) => { button.tabIndex = i ? -1 : 0; });
}

/** Calls a function now and whenever the reader's colour scheme changes. */
function onScheme(draw) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  matchMedia("print").addEventListener("change", draw);
}

function facts(list, entries) {
  for (const [name, value] of entries) {
    if (value) list.append(make("dt", {}, name), make("dd", {}, value));
  }
}
