const [COLUMN, LINE, WIDTH, HEIGHT, MARGIN] = [142, 36, 104, 25, 14];  // pixels

const { candidates, outputs } = data;
const number = (x, digits = 3) => x.toFixed(digits).replace("-", "−");
const percent = (p) => (p >= 0.0005 ? `${(100 * p).toFixed(1)}%` : `${(100 * p).toExponential(0)}%`);

/** The place of a candidate in its column: the order of the candidates is their rank. */
const line = [];
const columns = [];
for (const [i, { step }] of candidates.entries()) {
  columns[step - 1] ??= [];
  line[i] = columns[step - 1].push(i) - 1;
}

/** A candidate and those that it continues, first to last. */
function pathTo(i) {
  const path = [];
  for (let at = i; at >= 0; at = candidates[at].parent) path.unshift(at);
  return path;
}

const winners = new Set(outputs.length ? pathTo(outputs[0].candidate) : []);
const textOf = (path) => path.map((i) => candidates[i].piece).join("")
  .replace(/\u2581/g, " ").replace(/<\/s>$/, "").trim();

let chosen = outputs.length ? pathTo(outputs[0].candidate)[0] : 0;

/** What became of a candidate, and why. */
function reason({ fate, output, score, step }) {
  if (fate === "kept") {
    return `kept: among the best ${data.beam} that have not ended`
      + (step === columns.length ? "; the search ended with this step" : "");
  }
  if (fate === "dropped") return `dropped: ${data.beam} better continuations stay live`;
  if (output === null) return "finished, but not among the outputs: others score higher";
  return `finished with the score ${number(score)}: output ${output + 1} of ${outputs.length}`;
}

function classes(i) {
  const { fate, greedy } = candidates[i];
  return ["candidate", fate, ...(greedy ? ["greedy"] : []), ...(winners.has(i) ? ["winner"] : [])].join(" ");
}

function drawTree() {
  const size = Math.max(...columns.map((column) => column.length));
  const [width, height] = [MARGIN + COLUMN * columns.length, 2 * MARGIN + LINE * size];
  const tree = byId("tree"), links = byId("links");
  tree.style.width = `${width}px`;
  tree.style.height = `${height}px`;
  links.setAttribute("width", width);
  links.setAttribute("height", height);
  const x = (i) => MARGIN + COLUMN * (candidates[i].step - 1);
  const y = (i) => MARGIN + LINE * line[i];
  const paths = [];
  candidates.forEach((each, i) => {
    if (each.parent < 0) return;
    const [x0, y0] = [x(each.parent) + WIDTH, y(each.parent) + HEIGHT / 2];
    const [x1, y1] = [x(i), y(i) + HEIGHT / 2];
    paths.push(makeSvg("path", { "data-i": i, class: `${each.fate}${winners.has(i) ? " winner" : ""}`,
      d: `M${x0} ${y0} C${(x0 + x1) / 2} ${y0} ${(x0 + x1) / 2} ${y1} ${x1} ${y1}` }));
  });
  // What is drawn last lies on top.
  const weight = (path) => (path.classList.contains("winner") ? 2 : path.classList.contains("dropped") ? 0 : 1);
  links.replaceChildren(...paths.sort((a, b) => weight(a) - weight(b)));
  byId("boxes").replaceChildren(...candidates.map((each, i) => make("button", {
    type: "button", class: classes(i), "data-i": i, style: `left:${x(i)}px;top:${y(i)}px`,
    title: each.piece,
    "aria-label": `step ${each.step}, rank ${line[i] + 1}, ${each.piece}, ${each.fate}, `
      + `log-probability ${number(each.logprob)}${each.greedy ? ", greedy" : ""}${winners.has(i) ? ", of the winner" : ""}`,
    onmouseenter: () => show(i), onmouseleave: () => show(chosen),
    onclick: () => choose(i), onfocus: () => choose(i),
  }, make("span", { class: "piece" }, shown(each.piece)), make("span", { class: "value" },
    number(each.logprob, each.logprob > -99.95 ? 1 : 0)))));
}

function move(event) {
  const at = Number(event.target.dataset.i), { parent, step } = candidates[at];
  const column = columns[step - 1];
  const next = {
    ArrowUp: column[line[at] - 1], ArrowDown: column[line[at] + 1],
    ArrowLeft: parent >= 0 ? parent : undefined,
    ArrowRight: columns[step]?.find((i) => candidates[i].parent === at),
    Home: columns[0][0], End: outputs.length ? outputs[0].candidate : undefined,
  };
  if (!(event.key in next)) return;
  event.preventDefault();
  if (next[event.key] !== undefined) byId("boxes").children[next[event.key]].focus();
}

function show(i) {
  const each = candidates[i], path = pathTo(i), on = new Set(path);
  for (const link of byId("links").children) link.classList.toggle("path", on.has(Number(link.dataset.i)));
  for (const box of byId("boxes").children) box.classList.toggle("chosen", Number(box.dataset.i) === i);
  byId("one-title").textContent = `Step ${each.step}, rank ${line[i] + 1} of ${columns[each.step - 1].length}`;
  byId("one-facts").replaceChildren();
  facts(byId("one-facts"), [
    ["tokens", path.map((j) => shown(candidates[j].piece)).join(" · ")],
    ["text", textOf(path)],
    ["this token", `probability ${percent(Math.exp(each.token_logprob))}, log-probability ${number(each.token_logprob)}`],
    ["all tokens", `log-probability ${number(each.logprob)}`],
    ["fate", reason(each)],
    ["greedy", each.greedy ? "greedy search goes here too" : ""],
  ]);
  const next = each.alternatives;
  byId("next-title").textContent = next.length ? "Most probable tokens after it" : "No token after it was looked at";
  byId("next").replaceChildren(...next.map(({ piece, probability }) => make("tr", {},
    make("th", { scope: "row" }, shown(piece)), make("td", { "data-value": probability }, percent(probability)),
    make("td", { class: "bar" }, make("span", { style: `width:${100 * probability}%` })))));
}

function choose(i) {
  chosen = i;
  [...byId("boxes").children].forEach((box, j) => { box.tabIndex = j === i ? 0 : -1; });
  show(i);
  byId("status").textContent = `${textOf(pathTo(i))}: ${reason(candidates[i])}`;
}

function drawOutputs() {
  const covers = outputs.some(({ coverage }) => coverage !== 0);
  const head = ["", "output", "tokens", "log-probability", "÷ length penalty", ...(covers ? ["+ coverage"] : []), "= score"];
  byId("outputs").replaceChildren(
    make("thead", {}, make("tr", {}, ...head.map((name) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, ...outputs.map((each, i) => make("tr", { class: i ? "" : "winner" },
      make("th", { scope: "row" }, `${i + 1}`), make("td", { class: "text" }, each.text),
      make("td", {}, `${each.length}`), make("td", {}, number(each.logprob)), make("td", {}, number(each.divisor)),
      ...(covers ? [make("td", {}, number(each.coverage))] : []),
      make("td", { "data-score": each.score }, number(each.score))))));
  if (!outputs.length) return void (byId("why").textContent = "No output was found.");
  const [first, second] = outputs;
  const greedy = candidates.findLastIndex((each) => each.greedy);
  const parts = [`Outputs compare by their log-probability under ${data.penalty}.`];
  if (second) {
    parts.push(`The first has ${number(first.score)}, ${number(first.score - second.score)} more than the second.`);
    if (second.logprob > first.logprob) {
      parts.push("Without the penalty the second would be before the first: it is the more probable one.");
    }
  }
  parts.push(data.bound === null ? "No hypothesis was live any more when the search ended."
    : first.score >= data.bound
      ? `The search ended when no live hypothesis could score above ${number(data.bound)}.`
      : `The search ended at the greatest length; a live hypothesis might have reached ${number(data.bound)}.`);
  parts.push(winners.has(greedy) && candidates[greedy].fate === "finished"
    ? "Greedy search finds the same output."
    : `Greedy search goes to “${textOf(pathTo(greedy))}”${candidates[greedy].fate === "finished"
      ? ` with the score ${number(candidates[greedy].score)}` : ", which had not ended"}.`);
  byId("why").textContent = parts.join(" ");
}

facts(byId("facts"), [["run", data.run], ["input", data.text], ["output", outputs[0]?.text],
  ["search", `beam of ${data.beam}, ${data.penalty}`]]);
const LEGEND = [["kept", "kept live"], ["dropped", "dropped"], ["finished", "finished"],
  ["kept winner", "of the winner"], ["kept greedy", "of greedy search"]];
byId("legend").replaceChildren(...LEGEND.map(([names, text]) =>
  make("li", {}, make("span", { class: `candidate ${names}`, "aria-hidden": true }), text)));
drawTree();
byId("boxes").addEventListener("keydown", move);
drawOutputs();
choose(chosen);
document.documentElement.dataset.ready = "yes";
