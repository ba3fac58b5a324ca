const { title, head, rows, notes, picture, tables, curves } = data;
const body = make("tbody");

/** Opens the curves of a row below it, those of the first row with them in grey; or closes them. */
function toggle(number, button) {
  const row = button.closest("tr"), open = button.getAttribute("aria-expanded") === "true";
  button.setAttribute("aria-expanded", String(!open));
  if (open) {
    row.nextElementSibling.remove();
    return;
  }
  const own = curves.rows[number], base = number ? curves.rows[0] : [];
  const place = make("div");
  row.after(make("tr", {}, make("td", { class: "opened", colspan: head.length }, place)));
  // The looks of every eighth number are grey.
  drawCurves(place, [...own, ...base].map((i) => curves.runs[i]), curves.metrics,
    (i) => (i < own.length ? i + Math.floor(i / 7) : 8 * (i - own.length) + 7));
}

rows.forEach((texts, number) => {
  const [name, ...rest] = texts;
  const begun = curves.rows[number].length > 0;
  const button = make("button", { type: "button", "aria-expanded": "false", onclick: (event) => toggle(number, event.currentTarget) }, name);
  body.append(make("tr", {}, make("th", { scope: "row" }, begun ? button : name), ...rest.map((text) => make("td", {}, text))));
});
byId("title").textContent = title;
if (picture) byId("figure").append(make("img", { alt: `${title}: the table as a figure`, src: picture }));
byId("table").append(make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { scope: "col" }, text)))), body);
byId("hint").textContent = curves.runs.length ? "A row opens to the curves of its seeds, beside those of the first row." : "";
byId("notes").append(...notes.map((note) => make("li", {}, note)));
for (const [name, [first, ...others]] of Object.entries(tables)) {
  byId("more").append(make("h2", {}, name), make("div", { class: "wide", tabindex: "0", role: "region", "aria-label": name }, make("table", {},
    make("thead", {}, make("tr", {}, ...first.map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {}, ...others.map((texts) => make("tr", {}, ...texts.map((text) => make("td", {}, text))))))));
}
document.documentElement.dataset.ready = "yes";
