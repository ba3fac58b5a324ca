/** Curves of runs over each other, a panel for each metric: drawCurves. */

const AXES = { updates: "updates", target_tokens: "target tokens", seconds: "seconds of training",
  processor_seconds: "processor seconds" };
const DASHES = ["", "7 3", "2 2.5", "9 3 2 3", "12 4", "4 2 1 2 1 2"];
const WIDTH = 520, HEIGHT = 250, LEFT = 54, RIGHT = 10, TOP = 8, BOTTOM = 36;
const MARKS = [
  (x, y) => `M${x - 3} ${y}a3 3 0 1 0 6 0a3 3 0 1 0 -6 0Z`,
  (x, y) => `M${x - 2.7} ${y - 2.7}h5.4v5.4h-5.4Z`,
  (x, y) => `M${x} ${y - 3.6}l3.4 6h-6.8Z`,
  (x, y) => `M${x} ${y - 3.8}l3.2 3.8l-3.2 3.8l-3.2 -3.8Z`,
  (x, y) => `M${x} ${y + 3.6}l3.4 -6h-6.8Z`,
];

/** How the curve of the run of a number looks; no two of the first 40 are alike. */
const look = (i) => ({ color: `var(--s${i % 8})`, dash: DASHES[(i + Math.floor(i / 8)) % DASHES.length],
  mark: MARKS[(i + Math.floor(i / 8)) % MARKS.length] });

/** A number for a reader: 12,300 · 0.0215 · 3.2e−5 · 16 M. */
function short(x, digits = 4) {
  if (x === null || x === undefined) return "–";
  const size = Math.abs(x);
  const text = size >= 1e6 && size < 1e12 ? `${Number((x / 1e6).toPrecision(digits)).toLocaleString("en")} M` : size && (size < 1e-3 || size >= 1e12) ? x.toExponential(digits - 2).replace(/\.?0+e/, "e").replace("e+", "e")
    : size >= 1000 ? Math.round(x).toLocaleString("en") : String(Number(x.toPrecision(digits)));
  return text.replace(/-/g, "−");
}

/** The value of a curve `[xs, ys]` at `x`: between its points on a line, beyond its end null. */
function valueAt([xs, ys], x) {
  let low = 0, high = xs.length - 1;
  if (high < 0 || x < xs[0] || x > xs[high]) return null;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle] <= x) low = middle; else high = middle;
  }
  if (x === xs[high] || xs[high] === xs[low]) return x === xs[high] ? ys[high] : ys[low];
  if (x === xs[low] || ys[low] === null || ys[high] === null) return ys[low];
  return ys[low] + (ys[high] - ys[low]) * (x - xs[low]) / (xs[high] - xs[low]);
}

/** An exponential moving average without the bias to its start (Kingma and Ba 2015, §3), by
 * the distance in updates; a gap begins it anew. `amount` is its weight over `unit` updates. */
function smooth(steps, values, amount, unit) {
  let sum = 0, weight = 0, last = steps[0];
  return values.map((value, i) => {
    if (value === null) { sum = weight = 0; return null; }
    const keep = amount ** ((steps[i] - last) / unit);
    last = steps[i];
    sum = keep * sum + (1 - amount) * value;
    weight = keep * weight + (1 - amount);
    return sum / weight;
  });
}

/** Where the ticks of an axis are, about `count`. */
function ticks(low, high, log, count) {
  if (log) {
    const found = [], first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
    const parts = last - first > 4 ? [1] : last - first > 1 ? [1, 3] : [1, 2, 3, 5, 7];
    const every = Math.max(1, Math.ceil((last - first) / count));
    for (let e = first; e <= last; e += every) {
      for (const part of parts) found.push(Number(`${part}e${e}`));
    }
    return found.filter((x) => x >= low * 0.999 && x <= high * 1.001);
  }
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].find((each) => each * power >= raw) * power;
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

/**
 * Draws the curves of `runs` into an element, with a legend that switches runs on and off.
 * A run has `name`, `series` and `clocks`, `[steps, values]` by name; `metrics` has `title`
 * and `unit` by name. `lookOf(i)` is the number of the look of run i.
 */
function drawCurves(place, runs, metrics, lookOf = (i) => i) {
  const state = { axis: "updates", log: false, smoothing: 0, hidden: new Set(), strong: null };
  const names = Object.keys(metrics).filter((name) => runs.some((run) => run.series[name]));
  const looks = runs.map((_, i) => look(lookOf(i)));
  const panels = make("div", { class: "panels" });
  const drawn = new Map();
  const longest = Math.max(...runs.flatMap((run) => Object.values(run.series).map(([steps]) => steps[steps.length - 1] ?? 0)));
  // Held-out scores are few and exact, and the rate is no measurement.
  const smoothed = (name) => state.smoothing > 0 && name.startsWith("train/") && name !== "train/rate";

  /** A curve as `[xs, raw, smoothed]` on the axis that is chosen; null without such a clock. */
  function points(run, name) {
    const series = run.series[name];
    if (!series) return null;
    const [steps, values] = series;
    const clock = run.clocks[state.axis];
    if (state.axis !== "updates" && !clock) return null;
    const xs = state.axis === "updates" ? steps : steps.map((step) => step <= clock[0][0]
      ? clock[1][0] * step / (clock[0][0] || 1) : valueAt(clock, Math.min(step, clock[0][clock[0].length - 1])));
    return [xs, values, smoothed(name) ? smooth(steps, values, state.smoothing, longest / 100) : values];
  }

  function tabs(label, entries, chosen, choose) {
    const group = make("div", { class: "tabs", role: "radiogroup", "aria-label": label });
    for (const [key, text, enabled] of entries) {
      group.append(make("button", { type: "button", role: "radio", "data-key": key, disabled: enabled ? null : "",
        title: enabled ? null : "no run has recorded it", "aria-checked": key === chosen,
        onclick: (event) => {
          for (const each of group.children) each.setAttribute("aria-checked", each === event.currentTarget);
          choose(key);
          draw();
        } }, text));
    }
    roving(group, 1, "button:not(:disabled)");
    return make("fieldset", {}, make("legend", {}, label), group);
  }

  function controls() {
    const amount = make("output", {}, "0");
    const slider = make("input", { type: "range", min: 0, max: 0.98, step: 0.02, value: 0, "aria-label": "smoothing",
      oninput: () => { state.smoothing = Number(slider.value); amount.textContent = slider.value; draw(); } });
    return make("div", { class: "controls" },
      tabs("over", Object.entries(AXES).map(([key, text]) => [key, text,
        key === "updates" || runs.some((run) => run.clocks[key])]), "updates", (key) => { state.axis = key; }),
      tabs("scale", [["linear", "linear", true], ["log", "logarithmic", true]], "linear", (key) => { state.log = key === "log"; }),
      make("fieldset", {}, make("legend", {}, "smoothing of training"), slider, amount));
  }

  function legend() {
    const list = make("div", { class: "legend", role: "group", "aria-label": "Runs shown; press to hide" });
    runs.forEach((run, i) => {
      const sample = makeSvg("svg", { width: 30, height: 10, "aria-hidden": "true" },
        makeSvg("path", { d: "M0 5H30", stroke: looks[i].color, "stroke-dasharray": looks[i].dash }),
        makeSvg("path", { d: looks[i].mark(15, 5), style: `fill:${looks[i].color}` }));
      const button = make("button", { type: "button", "aria-pressed": "true", "data-run": i, title: run.name,
        onclick: () => {
          if (state.hidden.has(i)) state.hidden.delete(i); else state.hidden.add(i);
          button.setAttribute("aria-pressed", String(!state.hidden.has(i)));
          draw();
        },
        onmouseenter: () => emphasise(i), onmouseleave: () => emphasise(null),
        onfocus: () => emphasise(i), onblur: () => emphasise(null) }, sample, make("span", {}, run.name));
      list.append(button);
    });
    if (runs.length > 2) {
      const all = make("button", { type: "button", onclick: () => {
        const hide = !state.hidden.size;
        state.hidden = new Set(hide ? runs.keys() : []);
        for (const button of list.querySelectorAll("[data-run]")) button.setAttribute("aria-pressed", String(!hide));
        draw();
      } }, "all / none");
      list.append(all);
    }
    roving(list, 1);
    return list;
  }

  function emphasise(i) {
    for (const path of panels.querySelectorAll(".curve")) path.classList.toggle("strong", path.dataset.run === String(i));
  }

  function draw() {
    for (const name of names) drawPanel(name);
  }

  function scaleOf(low, high, from, to, log) {
    const f = log ? Math.log10 : (x) => x;
    const [a, b] = [f(low), f(high)];
    return { at: (x) => from + (to - from) * (b === a ? 0.5 : (f(x) - a) / (b - a)),
      back: (p) => { const v = a + (b - a) * (p - from) / (to - from); return log ? 10 ** v : v; } };
  }

  function drawPanel(name) {
    const curves = runs.map((run, i) => (state.hidden.has(i) ? null : points(run, name)));
    const usable = (y) => y !== null && (!state.log || y > 0);
    let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const curve of curves) {
      if (!curve) continue;
      curve[0].forEach((x, i) => {
        if (!usable(curve[2][i])) return;
        x0 = Math.min(x0, x); x1 = Math.max(x1, x);
        y0 = Math.min(y0, curve[2][i]); y1 = Math.max(y1, curve[2][i]);
      });
    }
    const { svg, readout } = panelOf(name);
    const empty = x0 === Infinity;
    svg.replaceChildren();
    drawn.set(name, null);
    readout.replaceChildren();
    if (empty) {
      svg.append(makeSvg("text", { x: WIDTH / 2, y: HEIGHT / 2, "text-anchor": "middle" },
        state.hidden.size === runs.length ? "no run is shown" : state.log ? "nothing above 0 in the runs shown" : "not recorded by the runs shown"));
      return;
    }
    if (y0 === y1) [y0, y1] = state.log ? [y0 / 1.5, y1 * 1.5] : [y0 - (Math.abs(y0) * 0.05 || 1), y1 + (Math.abs(y1) * 0.05 || 1)];
    else if (!state.log) { const margin = (y1 - y0) * 0.04; [y0, y1] = [y0 >= 0 && y0 < margin ? 0 : y0 - margin, y1 + margin]; }
    else { const margin = (y1 / y0) ** 0.04; [y0, y1] = [y0 / margin, y1 * margin]; }
    if (x0 === x1) [x0, x1] = [x0 - 0.5, x1 + 0.5];
    const sx = scaleOf(x0, x1, LEFT, WIDTH - RIGHT, false), sy = scaleOf(y0, y1, HEIGHT - BOTTOM, TOP, state.log);
    for (const y of ticks(y0, y1, state.log, 5)) {
      svg.append(makeSvg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: sy.at(y), y2: sy.at(y) }),
        makeSvg("text", { x: LEFT - 6, y: sy.at(y) + 4, "text-anchor": "end" }, short(y, 3)));
    }
    for (const x of ticks(x0, x1, false, 6)) {
      svg.append(makeSvg("line", { class: "grid", x1: sx.at(x), x2: sx.at(x), y1: TOP, y2: HEIGHT - BOTTOM }),
        makeSvg("text", { x: sx.at(x), y: HEIGHT - BOTTOM + 14, "text-anchor": "middle" }, short(x, 6)));
    }
    svg.append(makeSvg("rect", { class: "frame", x: LEFT, y: TOP, width: WIDTH - LEFT - RIGHT, height: HEIGHT - TOP - BOTTOM }),
      makeSvg("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, AXES[state.axis]));
    curves.forEach((curve, i) => {
      if (!curve) return;
      const path = (ys) => {
        let text = "", pen = "M";
        curve[0].forEach((x, k) => {
          if (!usable(ys[k])) { pen = "M"; return; }
          text += `${pen}${sx.at(x).toFixed(1)} ${Math.min(HEIGHT - BOTTOM + 1, Math.max(TOP - 1, sy.at(ys[k]))).toFixed(1)}`;
          pen = "L";
        });
        return text;
      };
      if (smoothed(name)) svg.append(makeSvg("path", { class: "curve raw", d: path(curve[1]), stroke: looks[i].color }));
      svg.append(makeSvg("path", { class: "curve", d: path(curve[2]), stroke: looks[i].color,
        "stroke-dasharray": looks[i].dash, "data-run": i }));
      // Without marks a single point is not seen, and prints in grey are harder to read.
      const kept = curve[0].map((x, k) => [x, curve[2][k], k]).filter(([, y]) => usable(y));
      const every = Math.ceil(kept.length / 8);
      const marked = kept.filter((_, k) => kept.length <= 16 || k % every === (i * 3) % every);
      svg.append(makeSvg("path", { class: "mark", style: `fill:${looks[i].color}`,
        d: marked.map(([x, y]) => looks[i].mark(sx.at(x), sy.at(y))).join("") }));
    });
    svg.append(makeSvg("line", { class: "cross", visibility: "hidden", y1: TOP, y2: HEIGHT - BOTTOM }));
    const xs = [...new Set(curves.flatMap((curve) => (curve ? curve[0] : [])))].filter((x) => x !== null).sort((a, b) => a - b);
    drawn.set(name, { curves, xs, sx, at: xs.length });
    svg.setAttribute("aria-label", `${metrics[name].title} over ${AXES[state.axis]}, ${curves.filter(Boolean).length} runs. `
      + "Left and right arrows read the values.");
  }

  function panelOf(name) {
    const id = `[data-metric="${CSS.escape(name)}"]`;
    let panel = panels.querySelector(id);
    if (!panel) {
      const svg = makeSvg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, tabindex: "0", role: "img" });
      const readout = make("p", { class: "readout", role: "status" });
      panel = make("div", { class: "panel", "data-metric": name },
        make("h3", {}, metrics[name].title, " ", make("small", {}, metrics[name].unit)),
        svg, readout);
      svg.addEventListener("pointermove", (event) => {
        const box = svg.getBoundingClientRect(), found = drawn.get(name);
        if (!found) return;
        const x = found.sx.back((event.clientX - box.left) * WIDTH / box.width);
        let best = 0;
        found.xs.forEach((each, k) => { if (Math.abs(each - x) < Math.abs(found.xs[best] - x)) best = k; });
        read(name, best);
      });
      svg.addEventListener("pointerleave", () => { if (document.activeElement !== svg) unread(name); });
      svg.addEventListener("blur", () => unread(name));
      svg.addEventListener("keydown", (event) => {
        const found = drawn.get(name);
        if (!found) return;
        const last = found.xs.length - 1, jump = Math.max(1, Math.round(last / 20));
        const to = { ArrowLeft: found.at - 1, ArrowRight: found.at > last ? 0 : found.at + 1, PageDown: found.at + jump,
          PageUp: found.at - jump, Home: 0, End: last }[event.key];
        if (event.key === "Escape") unread(name);
        if (to === undefined) return;
        event.preventDefault();
        read(name, Math.max(0, Math.min(last, to)));
      });
      panels.append(panel);
    }
    return { svg: panel.querySelector("svg"), readout: panel.querySelector(".readout") };
  }

  /** Shows the values of all curves of a panel at its x of a number, the best to compare first. */
  function read(name, at) {
    const found = drawn.get(name), { svg, readout } = panelOf(name), x = found.xs[at];
    found.at = at;
    const cross = svg.querySelector(".cross");
    cross.setAttribute("visibility", "visible");
    cross.setAttribute("x1", found.sx.at(x));
    cross.setAttribute("x2", found.sx.at(x));
    const values = found.curves.flatMap((curve, i) => {
      const value = curve && valueAt([curve[0], curve[2]], x);
      return value === null || value === undefined ? [] : [[i, value]];
    });
    const sign = metrics[name].lower === false ? -1 : 1;
    values.sort(([, a], [, b]) => sign * (a - b));
    const most = values.slice(0, 12);
    readout.replaceChildren(make("span", {}, make("b", {}, short(x, 7)), ` ${AXES[state.axis]}`),
      ...most.map(([i, value]) => make("span", { "data-run": i, "data-value": value },
        make("span", { style: `color:${looks[i].color}`, "aria-hidden": "true" }, "■ "), `${runs[i].name} `, make("b", {}, short(value)))),
      ...(values.length > most.length ? [`and ${values.length - most.length} more`] : []));
  }

  function unread(name) {
    const found = drawn.get(name), { svg, readout } = panelOf(name);
    if (!found) return;
    found.at = found.xs.length;
    readout.replaceChildren();
    svg.querySelector(".cross").setAttribute("visibility", "hidden");
  }

  if (!names.length) {
    place.replaceChildren(make("p", { class: "soft" }, "No run has recorded anything yet."));
    return;
  }
  place.replaceChildren(controls(), legend(), panels);
  draw();
}
