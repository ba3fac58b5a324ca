const number = (x, digits = 3) => (x === null ? "" : x.toFixed(digits).replace("-", "−"));
const signed = (x, digits = 3) => (x > 0 ? "+" : "") + number(x, digits);
const { metrics } = data;

/** A measure: its name, the number of a head, and its text. */
const measures = [
  ...metrics.map((name) => [`change of ${name}`, (head) => head.change[name], signed]),
  ["entropy in nats", (head) => head.entropy, number],
  ["distance in tokens", (head) => head.distance, number],
].filter(([, of]) => data.heads.every((head) => of(head) !== null));

const attentions = [...new Set(data.heads.map(({ attention }) => attention))];
const titleOf = (name) => name.replace(/_/g, " ").replace("/", " ");
let chosen = 0;

function describe(head) {
  const parts = metrics.map((name) =>
    `${name} ${number(head.scores[name])} without it (${signed(head.change[name])})`);
  if (head.entropy !== null) parts.push(`entropy ${number(head.entropy)} nats`, `distance ${number(head.distance)} tokens`);
  return `${titleOf(head.attention)}, layer ${head.layer}, head ${head.head}: ${parts.join(", ")}`;
}

function draw() {
  const [name, of, text] = measures[chosen];
  byId("maps-title").textContent = name[0].toUpperCase() + name.slice(1);
  [...byId("measures").children].forEach((button, i) => button.setAttribute("aria-checked", i === chosen));
  // The larger the change for the worse, or the number, the stronger the shade.
  const sizes = data.heads.map((head) => Math.abs(of(head))), most = Math.max(...sizes) || 1;
  byId("grids").replaceChildren(...attentions.map((attention) => {
    const heads = data.heads.filter((head) => head.attention === attention);
    const columns = Math.max(...heads.map(({ head }) => head));
    const cells = [make("span"), ...Array.from({ length: columns }, (_, i) => make("span", { class: "label" }, `head ${i + 1}`))];
    for (const head of heads) {
      if (head.head === 1) cells.push(make("span", { class: "label layer" }, `layer ${head.layer}`));
      const share = Math.abs(of(head)) / most;
      cells.push(make("button", { type: "button", "aria-label": describe(head), "data-value": of(head),
        style: `background:${shade(share)};color:var(--${share > 0.25 ? "paper" : "ink"})`,
        onmouseenter: () => { byId("status").textContent = describe(head); },
        onfocus: () => { byId("status").textContent = describe(head); } }, text(of(head), 2)));
    }
    const grid = make("div", { class: "grid", role: "group", "aria-label": titleOf(attention),
      style: `grid-template-columns:repeat(${columns + 1},max-content)` }, ...cells);
    roving(grid, columns);
    return make("div", { class: "wide" }, make("h3", {}, titleOf(attention)), grid);
  }));
}

function drawTable() {
  const hasShape = data.heads.every(({ entropy }) => entropy !== null);
  const head = ["attention", "layer", "head", ...metrics.flatMap((name) => [name, "change"]), ...(hasShape ? ["entropy", "distance"] : [])];
  const sorted = [...data.heads].sort((a, b) => b.change.loss - a.change.loss);
  byId("table").replaceChildren(make("thead", {}, make("tr", {}, ...head.map((name) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, ...sorted.map((each) => make("tr", {}, make("th", { scope: "row" }, titleOf(each.attention)),
      ...[`${each.layer}`, `${each.head}`, ...metrics.flatMap((name) => [number(each.scores[name], 4), signed(each.change[name], 4)]),
        ...(hasShape ? [number(each.entropy), number(each.distance)] : [])].map((text) => make("td", {}, text))))));
}

facts(byId("facts"), [["run", data.run], ["data", data.split],
  ["whole model", metrics.map((name) => `${name} ${number(data.scores[name], 4)}`).join(", ")]]);
byId("measures").replaceChildren(...measures.map(([name], i) => make("button", {
  type: "button", role: "radio", onclick: () => { chosen = i; draw(); } }, name)));
draw();
roving(byId("measures"), 1);
drawTable();
onScheme(draw);
document.documentElement.dataset.ready = "yes";
