const { runs, metrics, settings, evaluations, samples } = data;

const last = (curve) => curve[1][curve[1].length - 1];
const stepOf = (run) => Math.max(0, ...Object.values({ ...run.series, ...run.clocks }).map(([steps]) => steps[steps.length - 1] ?? 0));
const several = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;

function headed(caption, head, rows, attributes = {}) {
  return make("div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption },
    make("table", attributes, make("caption", { class: "hidden" }, caption),
      make("thead", {}, make("tr", {}, ...head.map((each) => make("th", { scope: "col" }, each)))),
      make("tbody", {}, ...rows)));
}

/** Whether a run has ended, as far as its files say. */
function state(run) {
  const step = stepOf(run), of = `${step.toLocaleString("en")} of ${run.steps.toLocaleString("en")}`;
  return step >= run.steps ? several(step, "update") : run.reported ? `${of} (ended early)` : `${of} (training, or stopped)`;
}

function drawRuns() {
  const names = Object.keys(metrics).filter((name) => metrics[name].lower !== null);
  const best = Object.fromEntries(names.map((name) => {
    const values = runs.filter((run) => run.series[name]).map((run) => last(run.series[name])).filter((x) => x !== null);
    return [name, runs.length > 1 && new Set(values).size > 1 ? (metrics[name].lower ? Math.min : Math.max)(...values) : null];
  }));
  const clocks = Object.keys(AXES).slice(1).filter((clock) => runs.some((run) => run.clocks[clock]));
  const head = ["run", "model", "task", "trained", ...clocks.map((clock) => AXES[clock]), ...names.map((name) => metrics[name].title)];
  byId("runs").replaceChildren(
    make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {}, ...runs.map((run) => make("tr", {}, make("th", { scope: "row" }, run.name),
      ...[run.model, run.task, state(run)].map((text) => make("td", { class: "text" }, text)),
      ...clocks.map((clock) => make("td", {}, run.clocks[clock] ? Math.round(last(run.clocks[clock])).toLocaleString("en") : "–")),
      ...names.map((name) => {
        const value = run.series[name] ? last(run.series[name]) : undefined;
        return make("td", { class: value !== undefined && value === best[name] ? "best" : null }, short(value));
      })))));
  byId("runs-note").textContent = `The newest value of each metric${runs.length > 1 ? ", the best in bold" : ""}; a run that is still training has not its last one yet. `
    + "Seconds are those of training, without evaluation.";
}

function drawSettings() {
  const place = byId("settings");
  const label = ({ path, meaning }) => make("th", { scope: "row" }, path, make("small", {}, meaning));
  if (runs.length > 1) {
    place.append(settings.differ.length
      ? headed("Settings that differ", ["setting", ...runs.map(({ name }) => name)], settings.differ.map((row) =>
        make("tr", {}, label(row), ...row.values.map((value) => make("td", {}, value ?? "–")))), { class: "differ" })
      : make("p", {}, "No setting differs."));
  }
  const title = runs.length > 1 ? `${settings.shared.length} settings that all runs share` : `${settings.shared.length} settings`;
  place.append(make("details", {}, make("summary", {}, title),
    headed(title, ["setting", "value"], settings.shared.map((row) => make("tr", {}, label(row), make("td", {}, row.values[0]))))));
}

function drawScores() {
  const place = byId("scores");
  const without = runs.filter((_, i) => !evaluations.some(({ run }) => run === i)).map(({ name }) => name);
  if (evaluations.length) {
    const names = [...new Set(evaluations.flatMap(({ scores }) => Object.keys(scores)))];
    place.append(headed("Stored evaluations", ["run", "record", ...names.map((name) => name.replace(/_/g, " ")), "how"],
      evaluations.map((each) => make("tr", {}, make("th", { scope: "row" }, runs[each.run].name),
        make("td", {}, each.name, make("small", {}, each.text === each.name ? "" : each.text)),
        ...names.map((name) => make("td", { class: "number" }, short(each.scores[name], 5))),
        make("td", {}, make("small", {}, Object.entries(each.how).map(([key, text]) => `${key.replace(/_/g, " ")} ${text}`).join("; ")))))));
  }
  if (without.length) {
    const which = without.length === runs.length ? (runs.length === 1 ? "The run has" : "The runs have") : `${without.join(", ")} ${without.length === 1 ? "has" : "have"}`;
    place.append(make("p", { class: "soft" }, `${which} no stored evaluation; transformer evaluate RUN makes one.`));
  }
}

function drawSamples() {
  const place = byId("samples");
  for (const { titles, texts, outputs } of samples) {
    const title = `${titles.join("; ")}: the first ${texts.length}`;
    const inputs = texts.some(([input]) => input), targets = texts.some(([, target]) => target);
    const head = [...(inputs ? ["input"] : []), ...(targets ? ["reference"] : []), ...outputs.map(([run]) => runs[run].name)];
    place.append(make("h3", {}, title), headed(title, head, texts.map(([input, target], i) => make("tr", {},
      ...(inputs ? [make("td", { dir: "auto" }, input)] : []), ...(targets ? [make("td", { dir: "auto" }, target)] : []),
      ...outputs.map(([, lines]) => make("td", { dir: "auto", class: targets && lines[i] === target ? "same" : null }, lines[i]))))));
  }
  const with_ = new Set(samples.flatMap(({ outputs }) => outputs.map(([run]) => run)));
  const without = runs.filter((_, i) => !with_.has(i)).map(({ name }) => name);
  if (with_.size) place.prepend(make("p", { class: "soft" }, "Outputs that equal the reference are grey."));
  if (without.length) place.append(make("p", { class: "soft" }, `No stored outputs: ${without.join(", ")}.`));
}

const constant = new Map();
for (const run of runs) for (const [name, value] of Object.entries(run.constants)) constant.set(name, (constant.get(name) ?? new Set()).add(short(value)));
byId("title").textContent = runs.length === 1 ? runs[0].name : `${runs.length} runs`;
facts(byId("facts"), [["data", [...new Set(runs.map((run) => run.data))].slice(0, 6).join(" · ")]]);
byId("constants").textContent = constant.size ? `The same at every step: ${[...constant].map(([name, value]) => `${name} ${[...value].join(" or ")}`).join(", ")}.` : "";
drawRuns();
drawCurves(byId("curves"), runs, metrics);
drawSettings();
drawScores();
drawSamples();
document.documentElement.dataset.ready = "yes";
