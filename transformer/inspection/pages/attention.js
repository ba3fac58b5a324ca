const ROW = 26;          // height of a token in pixels, as in the style sheet
const THUMBNAIL = 58;    // longest side of a small multiple
const FAINT = 0.02;      // weights below it have no line

/** The arrays by name, as the index says that they are stored. */
async function unpack({ index, data }) {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  const arrays = {};
  for (const [name, { kind, offset, shape, size, step }] of Object.entries(index)) {
    const count = shape.reduce((a, b) => a * b, 1);
    let values;
    if (kind === "float32") {
      values = new Float32Array(buffer.slice(offset, offset + 4 * count));
    } else {
      const planes = new Uint8Array(buffer, offset, size * count);
      const unused = 32 - 8 * size;
      values = Float64Array.from({ length: count }, (_, i) => {
        let number = 0;
        for (let byte = 0; byte < size; byte++) number |= planes[byte * count + i] << (8 * byte);
        return ((number << unused) >> unused) * step;
      });
    }
    arrays[name] = { shape, values, step: kind === "float32" ? 0 : step };
  }
  return arrays;
}

/** What is on the page: an attention, one of its views, and the query that is followed. */
const state = { map: 0, layer: 0, view: 0, pinned: 0, hovered: null };
let arrays;

const map = () => data.maps[state.map];
const array = (field) => arrays[`${map().name}/${field}`];
const heads = () => array("weights_lhts").shape[1];
const layers = () => array("weights_lhts").shape[0];
const followed = () => state.hovered ?? state.pinned;

/** The views of a layer: the mean over heads and the rollout where they say something,
 * and every head. */
function views() {
  const all = Array.from({ length: heads() }, (_, head) => head);
  return [...(heads() > 1 ? ["mean"] : []), ...(array("rollout_lts") ? ["rollout"] : []), ...all];
}

/** The weights of a view as `at(t, s)`. */
function weights(layer, view) {
  const [t, s] = [map().queries.length, map().keys.length];
  if (view === "mean" || view === "rollout") {
    const { values } = array(`${view}_lts`);
    return (i, j) => values[(layer * t + i) * s + j];
  }
  const { values } = array("weights_lhts");
  return (i, j) => values[((layer * heads() + view) * t + i) * s + j];
}

/** Whether no token attends to a later one, in any head. */
function isCausal() {
  const [t, s] = [map().queries.length, map().keys.length];
  if (t !== s || t < 2) return false;
  const { values } = array("weights_lhts");
  for (let at = 0; at < values.length; at++) {
    if (at % s > Math.floor(at / s) % t && values[at] !== 0) return false;
  }
  return true;
}

const number = (x, digits = 3) => x.toFixed(digits).replace("-", "−");
const viewName = (view) => (typeof view === "number" ? `head ${view + 1}` : view);
function title(layer, view) {
  const names = { mean: "mean over heads", rollout: "rollout to this layer" };
  return `${map().title}, layer ${layer + 1}, ${names[view] ?? viewName(view)}`;
}

function drawMaps() {
  const group = byId("maps");
  group.hidden = data.maps.length < 2;
  group.replaceChildren(...data.maps.map((each, i) => make("button", {
    type: "button", role: "radio", "aria-checked": i === state.map, "data-name": each.name,
    onclick: () => choose({ map: i }),
  }, each.title)));
  roving(group, 1);
}

function drawHeads() {
  const group = byId("heads"), columns = views();
  const [t, s] = [map().queries.length, map().keys.length];
  const cell = Math.min(THUMBNAIL / Math.max(t, s), 14);
  group.style.gridTemplateColumns = `repeat(${columns.length + 1}, max-content)`;
  const apart = (view) => (view === 0 && columns.length > heads() ? " apart" : "");
  const parts = [make("span"), ...columns.map((view) =>
    make("span", { class: "label" + apart(view) }, viewName(view)))];
  for (let layer = 0; layer < layers(); layer++) {
    parts.push(make("span", { class: "label layer" }, `layer ${layer + 1}`));
    for (const view of columns) {
      const canvas = make("canvas", { width: s, height: t,
        style: `width:${s * cell}px;height:${t * cell}px` });
      const at = weights(layer, view), context = canvas.getContext("2d");
      for (let i = 0; i < t; i++) {
        for (let j = 0; j < s; j++) {
          context.fillStyle = shade(at(i, j));
          context.fillRect(j, i, 1, 1);
        }
      }
      parts.push(make("button", {
        type: "button", role: "radio", "data-layer": layer, "data-view": view,
        class: apart(view), "aria-label": title(layer, view),
        "aria-checked": layer === state.layer && view === state.view,
        onclick: () => choose({ layer, view }), onfocus: () => choose({ layer, view }),
      }, canvas));
    }
  }
  group.replaceChildren(...parts);
  roving(group, columns.length);
}

function markHead() {
  for (const button of byId("heads").querySelectorAll("button")) {
    const { layer, view } = button.dataset;
    const chosen = Number(layer) === state.layer && view === String(state.view);
    button.setAttribute("aria-checked", chosen);
    button.tabIndex = chosen ? 0 : -1;
  }
}

/** A query that can be followed, by pointer and by keyboard. */
function queryButton(t, content, label) {
  return make("button", {
    type: "button", "data-t": t, "aria-label": label, "aria-pressed": false,
    onmouseenter: () => follow(t, false), onmouseleave: () => follow(null, false),
    onclick: () => follow(t, true), onfocus: () => follow(t, true),
  }, content);
}

function drawTokens() {
  const { queries, keys } = map(), image = data.image !== null;
  byId("lines").className = image ? "image" : "";
  byId("queries").className = image ? "image" : "";
  byId("queries").setAttribute("aria-label", image ? "Patches that attend" : "Tokens that attend");
  if (image) return drawPatches();
  byId("queries").replaceChildren(...queries.map((token, t) => {
    const button = queryButton(t, shown(token), `query ${token}`);
    button.title = token;
    return button;
  }));
  roving(byId("queries"), 1);
  byId("keys").replaceChildren(...keys.map((token) => make("div", { title: token },
    make("span", {}, shown(token)), make("span", { class: "weight" }))));
  const height = ROW * Math.max(queries.length, keys.length);
  const curves = byId("curves");
  curves.setAttribute("viewBox", `0 0 100 ${height}`);
  curves.setAttribute("preserveAspectRatio", "none");
  curves.style.height = `${height}px`;
}

/** The image with a button for each patch, and the image under its weights. */
function drawPatches() {
  const { queries } = map();
  const [rows, columns] = queries[queries.length - 1].split(",").map(Number);
  const grid = `background-image:url(${data.image});grid-template:repeat(${rows},1fr)/repeat(${columns},1fr)`;
  const patches = queries.slice(1).map((name, i) => queryButton(i + 1, "", `patch ${name}`));
  const picture = make("div", { id: "picture", style: grid }, ...patches);
  byId("queries").replaceChildren(
    queryButton(0, "\u2002class token\u2002", "class token"), picture);
  roving(byId("queries"), 1);
  byId("keys").replaceChildren(make("p", { class: "soft", id: "class-weight" }),
    make("div", { id: "overlay", style: grid, role: "img", "aria-label": "weights over the image" },
      ...queries.slice(1).map(() => make("span"))));
}

function markTokens() {
  const t = followed(), { queries, keys } = map();
  const at = weights(state.layer, state.view);
  for (const button of byId("queries").querySelectorAll("button")) {
    const own = Number(button.dataset.t);
    button.classList.toggle("followed", own === t);
    button.setAttribute("aria-pressed", own === state.pinned);
  }
  if (data.image !== null) {
    const most = Math.max(...keys.map((_, s) => (s ? at(t, s) : 0)));
    [...byId("overlay").children].forEach((patch, i) => {
      patch.style.background = `color-mix(in srgb, ${shade((at(t, i + 1) / most) ** 2)} 78%, transparent)`;
      patch.title = `patch ${keys[i + 1]}: ${number(at(t, i + 1))}`;
    });
    byId("class-weight").textContent = `class token: ${number(at(t, 0))}`;
  } else {
    [...byId("keys").children].forEach((row, s) => {
      const weight = at(t, s);
      row.style.setProperty("--fill", shade(weight));
      row.style.setProperty("--text", weight > 0.21 ? "var(--paper)" : "var(--ink)");
      row.lastChild.textContent = weight >= 0.0005 ? number(weight) : "";
    });
    drawCurves(at, t);
  }
  const caption = data.image !== null
    ? `On the right, what ${queryName(t)} attends to, relative to the largest weight of a patch, `
      + `${number(Math.max(...keys.map((_, s) => (s ? at(t, s) : 0))))}. Point at a patch, or move with the arrow keys.`
    : `What ${queryName(t)} attends to. Point at a token, or move with the arrow keys.`;
  byId("lines-caption").textContent = caption;
}

function queryName(t) {
  const { queries } = map();
  if (data.image === null) return `“${shown(queries[t]).trim() || queries[t]}”`;
  return t ? `patch ${queries[t]}` : "the class token";
}

function drawCurves(at, followedRow) {
  const { queries, keys } = map(), paths = [];
  queries.forEach((_, t) => keys.forEach((_, s) => {
    const weight = at(t, s);
    if (weight < FAINT) return;
    const [from, to] = [ROW * (t + 0.5), ROW * (s + 0.5)];
    paths.push(makeSvg("path", {
      d: `M0 ${from} C40 ${from} 60 ${to} 100 ${to}`, "vector-effect": "non-scaling-stroke",
      "stroke-width": (0.6 + 3.4 * weight).toFixed(2),
      "stroke-opacity": (weight ** 0.7 * (t === followedRow ? 1 : 0.16)).toFixed(3),
    }));
  }));
  byId("curves").replaceChildren(...paths);
}

/** Sizes of the heat map: cells, and room for the labels. */
function layout(context) {
  const { queries, keys } = map();
  const cell = Math.max(7, Math.min(24, Math.floor(560 / Math.max(queries.length, keys.length))));
  const width = (tokens) => Math.min(150,
    Math.ceil(Math.max(...tokens.map((token) => context.measureText(shown(token)).width))) + 10);
  return { cell, left: width(queries), top: width(keys) };
}

function drawMatrix() {
  const { queries, keys } = map(), canvas = byId("matrix");
  const context = canvas.getContext("2d"), font = (size) => `${size}px system-ui, sans-serif`;
  context.font = font(12);
  const { cell, left, top } = layout(context), at = weights(state.layer, state.view);
  const [width, height] = [left + cell * keys.length + 2, top + cell * queries.length + 2];
  const ratio = window.devicePixelRatio || 1;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  context.scale(ratio, ratio);
  context.font = font(Math.min(12, cell + 2));
  context.textBaseline = "middle";
  const style = getComputedStyle(document.documentElement);
  const [ink, gap, accent] = ["--ink", "--gap", "--accent"].map((name) => style.getPropertyValue(name));
  const clip = (token) => (shown(token).length > 20 ? `${shown(token).slice(0, 19)}…` : shown(token));
  context.fillStyle = ink;
  context.textAlign = "right";
  queries.forEach((token, t) => {
    context.globalAlpha = t === followed() ? 1 : 0.75;
    context.fillText(clip(token).trim(), left - 6, top + cell * (t + 0.5));
  });
  context.globalAlpha = 0.75;
  context.textAlign = "left";
  keys.forEach((token, s) => {
    context.save();
    context.translate(left + cell * (s + 0.5), top - 6);
    context.rotate(-Math.PI / 2);
    context.fillText(clip(token).trim(), 0, 0);
    context.restore();
  });
  context.globalAlpha = 1;
  context.fillStyle = gap;
  context.fillRect(left, top, cell * keys.length + 1, cell * queries.length + 1);
  queries.forEach((_, t) => keys.forEach((_, s) => {
    context.fillStyle = shade(at(t, s));
    context.fillRect(left + cell * s + 1, top + cell * t + 1, cell - 1, cell - 1);
  }));
  context.strokeStyle = accent;
  context.lineWidth = 2;
  context.strokeRect(left, top + cell * followed(), cell * keys.length + 1, cell + 1);
  canvas.setAttribute("aria-label",
    `Heat map: ${title(state.layer, state.view)}; the numbers are in the table below`);
  const stops = [0, 0.02, 0.08, 0.18, 0.32, 0.5, 0.75, 1].map((x) => `${shade(x)} ${100 * x}%`);
  byId("scale").style.background = `linear-gradient(to right, ${stops.join(", ")})`;
  byId("under").textContent = "weights from 0 to 1; a row is a query, a column a key";
}

/** The query and key under the pointer; null outside. */
function cellUnder(event) {
  const canvas = byId("matrix"), { cell, left, top } = layout(canvas.getContext("2d"));
  const t = Math.floor((event.offsetY - top) / cell), s = Math.floor((event.offsetX - left) / cell);
  const inside = t >= 0 && s >= 0 && t < map().queries.length && s < map().keys.length;
  return inside ? [t, s] : null;
}

function drawNumbers() {
  const details = byId("numbers");
  if (!details.open) return;
  const { queries, keys } = map(), at = weights(state.layer, state.view);
  const head = make("tr", {}, make("td"), ...keys.map((key) => make("th", { scope: "col" }, shown(key))));
  const rows = queries.map((query, t) => make("tr", {}, make("th", { scope: "row" }, shown(query)),
    ...keys.map((_, s) => make("td", { "data-value": at(t, s) }, number(at(t, s))))));
  details.lastElementChild.replaceChildren(make("table", {},
    make("caption", { class: "hidden" }, `${title(state.layer, state.view)}: a row for each query`),
    make("thead", {}, head), make("tbody", {}, ...rows)));
}

/** Bars for the channels of a vector, up for positive numbers and down for negative. */
function strip(values, most, label) {
  const bar = Math.max(1, Math.min(6, Math.floor(200 / values.length)));
  const [width, height] = [bar * values.length, 30], ratio = window.devicePixelRatio || 1;
  const canvas = make("canvas", { width: width * ratio, height: height * ratio, role: "img",
    "aria-label": label, style: `width:${width}px;height:${height}px` });
  const context = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  context.scale(ratio, ratio);
  context.fillStyle = style.getPropertyValue("--line");
  context.fillRect(0, height / 2 - 0.5, width, 1);
  values.forEach((value, k) => {
    context.fillStyle = style.getPropertyValue(value < 0 ? "--soft" : "--accent");
    const size = (value / (most || 1)) * (height / 2 - 1);
    context.fillRect(k * bar, height / 2 - Math.max(0, size), Math.max(1, bar - 0.5), Math.abs(size));
  });
  canvas.addEventListener("mousemove", (event) => {
    const k = Math.floor(event.offsetX / bar);
    if (k < values.length) canvas.title = `channel ${k + 1}: ${number(values[k], 4)}`;
  });
  return canvas;
}

function drawInside() {
  const q = array("q_lthk"), k = array("k_lshk"), bias = array("bias_lhts");
  byId("inside").hidden = !q || typeof state.view !== "number";
  if (byId("inside").hidden) return;
  const { keys, queries, scale } = map(), t = followed(), [, , h, width] = q.shape;
  const vector = ({ values }, i, size) => {
    const start = ((state.layer * size + i) * h + state.view) * width;
    return Array.from(values.subarray(start, start + width));
  };
  const query = vector(q, t, queries.length);
  const last = isCausal() ? t + 1 : keys.length;
  const rows = keys.slice(0, last).map((token, s) => {
    const key = vector(k, s, keys.length), product = key.map((x, i) => x * query[i]);
    const added = bias
      ? bias.values[((state.layer * h + state.view) * queries.length + t) * keys.length + s] : 0;
    const score = scale * product.reduce((a, b) => a + b, 0) + added;
    return { token, key, product, added, score, weight: weights(state.layer, state.view)(t, s) };
  });
  const largest = (vectors) => Math.max(...vectors.flat().map(Math.abs));
  const [ofKeys, ofProducts] = [largest(rows.map((row) => row.key)), largest(rows.map((row) => row.product))];
  const most = Math.max(...rows.map((row) => row.weight));
  const divisor = Math.abs(scale * Math.sqrt(width) - 1) < 1e-6 ? ` ÷ √${width}` : scale === 1 ? "" : ` × ${number(scale, 4)}`;
  const head = make("tr", {}, make("th", { scope: "col" }, "key"),
    make("th", { scope: "col" }, "channels of the key"),
    make("th", { scope: "col" }, "query × key, by channel"),
    ...(bias ? [make("th", { scope: "col" }, "position bias")] : []),
    make("th", { scope: "col" }, `score: sum${divisor}${bias ? " + bias" : ""}`),
    make("th", { scope: "col" }, "weight: softmax"));
  const first = make("tr", {}, make("th", { scope: "row" }, `query ${queryName(t)}`),
    make("td", {}, strip(query, largest([query]), `channels of the query ${queries[t]}`)),
    make("td", { colspan: bias ? 4 : 3 }));
  byId("channels").replaceChildren(make("thead", {}, head), make("tbody", {}, first,
    ...rows.map((row) => make("tr", { class: row.weight === most ? "most" : "" },
      make("th", { scope: "row" }, shown(row.token)),
      make("td", {}, strip(row.key, ofKeys, `channels of the key ${row.token}`)),
      make("td", {}, strip(row.product, ofProducts, `products with the key ${row.token}`)),
      ...(bias ? [make("td", {}, number(row.added))] : []),
      make("td", { "data-score": row.score }, number(row.score)),
      make("td", { "data-weight": row.weight }, number(row.weight))))));
  const rounded = q.step ? ` Queries and keys are rounded to multiples of ${q.step.toPrecision(2)} `
    + `and ${k.step.toPrecision(2)} on this page, so scores are approximate; weights are not.` : "";
  byId("inside-note").textContent = `How ${queryName(t)} weighs its keys in ${viewName(state.view)} of layer `
    + `${state.layer + 1}: each channel of the query times that of the key; their sum is the score, and the softmax `
    + `of the scores the weights. Bars above the line are positive.${rounded}`;
}

function announce() {
  const at = weights(state.layer, state.view), t = state.pinned;
  const order = map().keys.map((token, s) => [at(t, s), token]).sort((a, b) => b[0] - a[0]);
  byId("status").textContent = `${queryName(t)} attends to ${order.slice(0, 3)
    .map(([weight, token]) => `${token} ${number(weight)}`).join(", ")}`;
}

function follow(t, pin) {
  if (pin) [state.pinned, state.hovered] = [t, null];
  else state.hovered = t;
  markTokens();
  drawMatrix();
  drawInside();
  if (pin) announce();
}

const NOTES = {
  mean: "The mean of the weights over the heads of the layer.",
  rollout: "How much of each token reaches this layer through all layers below, if every residual "
    + "connection carries half (Abnar and Zuidema 2020).",
};

function drawOne() {
  byId("one-title").textContent = title(state.layer, state.view);
  byId("one-note").textContent = (NOTES[state.view] ?? "") + (state.view === "rollout"
    && map().name.startsWith("decoder") ? " In a decoder, what comes from the source and from the "
    + "target together makes one." : "");
  markHead();
  markTokens();
  drawMatrix();
  drawNumbers();
  drawInside();
}

function choose(changes) {
  const other = changes.map !== undefined && changes.map !== state.map;
  Object.assign(state, changes);
  if (!other) return drawOne();
  state.layer = layers() - 1;
  state.view = views()[0];
  [state.pinned, state.hovered] = [0, null];
  [...byId("maps").children].forEach((button, i) =>
    button.setAttribute("aria-checked", i === state.map));
  drawHeads();
  drawTokens();
  drawOne();
}

async function start() {
  facts(byId("facts"), [["model", `${data.model} of ${data.run}`], ["input", data.text],
    ["output", data.output]]);
  arrays = await unpack(data.arrays);
  const canvas = byId("matrix");
  canvas.addEventListener("mousemove", (event) => {
    const cell = cellUnder(event);
    if ((cell?.[0] ?? null) !== state.hovered) follow(cell?.[0] ?? null, false);
    if (!cell) return;
    const { keys } = map(), [t, s] = cell;
    byId("under").textContent = `${queryName(t)} to “${shown(keys[s]).trim()}”: ${number(weights(state.layer, state.view)(t, s), 4)}`;
  });
  canvas.addEventListener("mouseleave", () => follow(null, false));
  canvas.addEventListener("click", (event) => { const cell = cellUnder(event); if (cell) follow(cell[0], true); });
  byId("numbers").addEventListener("toggle", drawNumbers);
  const source = data.maps.findIndex(({ name }) => name.includes("source"));
  state.map = -1;
  const first = Math.max(0, source);
  state.map = first;
  drawMaps();
  state.map = -1;
  choose({ map: first });
  onScheme(() => { drawHeads(); drawOne(); });
  document.documentElement.dataset.ready = "yes";
}

start();
