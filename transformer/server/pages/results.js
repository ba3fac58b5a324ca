/** The output: a line for each text, and the details of the one that is selected. */

/** What is on the page. A row has `text`, its `result` and, of a translation, the
 * `chosen` one among its hypotheses; while it is decoded it has a `draft`. */
const state = { models: [], model: null, path: "", rows: [], selected: null, running: null };

const task = () => TASKS[state.path];
const selected = () => state.rows[state.selected];
const nats = (x) => (Math.abs(x) < 0.005 ? "0.00" : x.toFixed(2).replace("-", "−"));

/** A row's output as text. */
function outputOf(row) {
  if (!row.result) return row.draft ?? "";
  if (row.result.hypotheses) return row.result.hypotheses[row.chosen]?.text ?? "";
  return row.result.error ?? task().line(row.result);
}

function drawRow(i) {
  const row = state.rows[i];
  if (row.blank) return make("p", {}, "\u00a0");
  const line = make("button", { type: "button", class: "line", dir: "auto", "data-i": i,
    "aria-pressed": i === state.selected, onclick: () => select(i) });
  if (row.continues) line.append(make("span", { class: "prompt" }, row.text));
  line.append(make("span", { class: row.result ? "whole" : "draft" }, outputOf(row)));
  return line;
}

function drawOutput() {
  byId("output").replaceChildren(...state.rows.map((_, i) => drawRow(i)));
  // Browsers have a clipboard for this machine and for TLS alone.
  byId("copy").hidden = !navigator.clipboard || !state.rows.some((row) => row.result);
}

function redrawRow(i) {
  byId("output").children[i].replaceWith(drawRow(i));
}

/** Shows the details of a row, which are asked for where they are not there yet. */
async function select(i) {
  const before = state.selected;
  state.selected = i;
  for (const at of [before, i]) if (state.rows[at]) redrawRow(at);
  drawDetails();
  const row = state.rows[i];
  if (state.path !== "translate" || !row.result || row.ranked) return;
  await guarded(async (signal) => {
    const [result] = await results("translate", translation([row.text], { n_best: beamSize() }), signal);
    Object.assign(row, { result, ranked: true, chosen: 0 });
    if (selected() === row) {
      redrawRow(i);
      drawDetails();
    }
  });
}

function drawDetails() {
  const row = selected();
  byId("one").hidden = !row?.result;
  if (!row?.result) return;
  const { hypotheses, masks, classes } = row.result;
  const [title, note] = hypotheses
    ? ["Alternatives", hypotheses.length > 1 ? "By their score, the log-probability under the length penalty. Choose one." : ""]
    : masks ? ["Predictions", "The most probable pieces of each [MASK], each predicted by itself."]
      : classes ? ["Classes", "By their probability."] : ["More", ""];
  byId("one-title").textContent = title;
  byId("one-note").textContent = note;
  const list = byId("alternatives");
  list.removeAttribute("role");
  if (hypotheses) drawAlternatives(list, row, hypotheses);
  else if (masks) list.replaceChildren(...masks.map((pieces) => ranked(pieces.map(({ piece, probability }) => [shown(piece), probability]))));
  else if (classes) list.replaceChildren(ranked(classes.map((each) => [each.class, each.probability])));
  else list.replaceChildren();
  for (const path of ["attend", "beam"]) byId(path).hidden = !state.model.paths.includes(path);
}

function drawAlternatives(list, row, hypotheses) {
  list.setAttribute("role", "radiogroup");
  list.setAttribute("aria-labelledby", "one-title");
  list.replaceChildren(...hypotheses.map(({ text, score }, i) => make("button", {
    type: "button", role: "radio", "aria-checked": i === row.chosen, onclick: () => {
      row.chosen = i;
      redrawRow(state.selected);
      drawDetails();
      list.children[i].focus();
    },
  }, make("span", { class: "rank" }, `${i + 1}`), make("span", { dir: "auto" }, text),
    make("span", { class: "score" }, nats(score)))));
  roving(list, 1);
}

/** Names with bars of their probabilities. */
function ranked(pairs) {
  return make("div", { class: "ranked" }, ...pairs.flatMap(([name, probability]) => {
    const bar = make("span", { class: "share", "aria-hidden": true });
    bar.style.width = `${100 * probability}%`;
    return [make("span", { class: "name" }, name), make("span", {}, bar),
      make("span", { class: "value" }, `${(100 * probability).toFixed(1)}%`)];
  }));
}

/** Shows a page of the server's about the selected row: its attention or its beam. */
async function view(path) {
  const row = selected(), { prefix, n_best, ...common } = settings(task());
  const search = state.path === "translate" ? { ...common, ...languages() } : {};
  const body = { model: state.model.name, ...search, ...(row.image ? { image: row.image } : { text: row.text }) };
  // The first one is what the model finds by itself, unless it was told how to begin.
  if (path === "attend" && (row.chosen || prefix)) body.reference = outputOf(row);
  if (row.continues) body.text += outputOf(row);
  await guarded(async (signal) => {
    byId("status").textContent = "Computing the page …";
    const html = await (await post(path, body, signal)).text();
    byId("status").textContent = "";
    showPage(path === "attend" ? "Attention" : "Beam search", `${path}.html`, html);
  });
}

function showPage(title, name, html) {
  byId("viewer").hidden = false;
  byId("viewer-title").textContent = title;
  const frame = make("iframe", { sandbox: "allow-scripts", src: "frame", title });
  addEventListener("message", function send(event) {
    if (event.source !== frame.contentWindow) return;
    removeEventListener("message", send);
    // The frame has no origin that could be named; what it gets it shows, no more.
    frame.contentWindow.postMessage(html, "*");
  });
  byId("frame").replaceChildren(frame);
  byId("save").onclick = () => save(name, new Blob([html], { type: "text/html" }));
  byId("viewer").scrollIntoView({ behavior: "instant", block: "nearest" });
}

/** Offers something as a file. */
function save(name, blob) {
  const url = URL.createObjectURL(blob);
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
