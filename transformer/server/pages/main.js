/** The page: models, languages, and what happens when a button is pressed. */

const DRAFTS = 4;  // texts that are streamed before they are searched for; more at once
const BATCH = 16;  // texts in a request

const isImages = () => state.model.task === "ImageClassification";
const beamSize = () => settings(task()).beam ?? 4;

/** The languages that were chosen, as fields of a request. */
function languages() {
  const found = {};
  for (const side of ["source", "target"]) {
    const value = byId(side).value;
    if (!byId(`${side}-label`).hidden && value) found[`${side}_language`] = value;
  }
  return found;
}

/** A request of texts, or of an image, with the settings. */
const requestOf = (texts) => ({ model: state.model.name, ...settings(task()),
  ...(state.path === "translate" ? languages() : {}), ...task().body(texts) });

const translation = (texts, more) => ({ ...requestOf(texts), ...more });

/** Runs something that can be stopped; its errors are shown. */
async function guarded(run) {
  const abort = new AbortController();
  state.running?.abort();
  state.running = abort;
  byId("error").textContent = "";
  byId("stop").hidden = false;
  try {
    await run(abort.signal);
  } catch (error) {
    if (state.running !== abort) return;
    byId("status").textContent = "";
    if (error.status === 401) return void askForToken(error.message);
    byId("error").textContent = abort.signal.aborted ? "Stopped." : error.message;
  } finally {
    if (state.running === abort) {
      state.running = null;
      byId("stop").hidden = true;
    }
  }
}

/** Streams a draft of each row, where there are few. */
async function draft(rows, signal) {
  if (rows.length > DRAFTS) return;
  const { beam, ...body } = requestOf([]);
  byId("status").textContent = "Greedy search, token by token …";
  for (const row of rows) {
    await streamed("translate", { ...body, text: row.text }, signal, (text) => {
      row.draft = text;
      redrawRow(state.rows.indexOf(row));
    });
  }
}

async function translate(rows, signal) {
  await draft(rows, signal);
  byId("status").textContent = `Beam search of ${beamSize()} …`;
  const alone = rows.length === 1;
  for (let at = 0; at < rows.length; at += BATCH) {
    const part = rows.slice(at, at + BATCH);
    const body = translation(part.map((row) => row.text), { n_best: alone ? beamSize() : 1 });
    const found = await results("translate", body, signal);
    found.forEach((result, i) => Object.assign(part[i], { result, chosen: 0, ranked: alone }));
    drawOutput();
  }
}

async function generate([row], signal) {
  const body = { ...requestOf([]), text: row.text };
  const text = await streamed("generate", body, signal, (draft) => {
    row.draft = draft;
    redrawRow(0);
  });
  row.result = { texts: [text] };
  drawOutput();
}

async function answer(rows, signal) {
  const body = requestOf(rows.map((row) => row.text));
  if (isImages()) {
    delete body.text;
    body.image = [rows[0].image];
  }
  const found = await results(state.path, body, signal);
  found.forEach((result, i) => { rows[i].result = result; });
  drawOutput();
}

/** The rows of what was written or chosen. */
async function readRows() {
  if (isImages()) {
    const [file] = byId("image").files;
    return file ? [{ text: file.name, image: await base64(file) }] : [];
  }
  const { value } = byId("text");
  if (state.path === "generate") return [{ text: value, continues: true }];
  const lines = value.split(/\r?\n/);
  while (lines.length && !lines.at(-1).trim()) lines.pop();
  return lines.map((text) => ({ text, blank: !text.trim() }));
}

function base64(file) {
  return new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => fail(reader.error);
    reader.readAsDataURL(file);
  });
}

async function go() {
  const rows = await readRows(), full = rows.filter((row) => !row.blank);
  Object.assign(state, { rows, selected: null });
  drawOutput();
  drawDetails();
  if (!full.length) return;
  await guarded(async (signal) => {
    byId("status").textContent = "…";
    await ({ translate, generate }[state.path] ?? answer)(full, signal);
    byId("status").textContent = full.length > 1 ? "Choose a line for more of it." : "";
    if (full.length === 1) select(rows.indexOf(full[0]));
  });
}

function languageName(code) {
  const [language] = code.replace(/[<>]|^_+|_+$/g, "").split(/[_-]/);
  try {
    const name = new Intl.DisplayNames(["en"], { type: "language" }).of(language);
    return name === language ? code : `${name} (${code})`;
  } catch {
    return code;
  }
}

function drawLanguages() {
  for (const side of ["source", "target"]) {
    const codes = state.model.languages?.[side] ?? [], own = state.model.languages?.[`default_${side}`];
    const named = codes.map((code) => [languageName(code), code]);
    const options = named.sort(([a], [b]) => a.localeCompare(b, "en"))
      .map(([name, value]) => make("option", { value }, name));
    if (!own) options.unshift(make("option", { value: "" }, side === "target" ? "choose a language" : "not given"));
    byId(side).replaceChildren(...options);
    byId(side).value = own ?? "";
    byId(`${side}-label`).hidden = !codes.length;
  }
}

/** Shows what a model can do. */
function useModel(name) {
  const model = state.models.find((each) => each.name === name);
  state.running?.abort();
  fileState.abort?.abort();
  Object.assign(state, { model, rows: [], selected: null });
  state.path = Object.keys(TASKS).find((path) => model.paths.includes(path));
  const images = isImages(), { action, output, hint } = task();
  byId("title").textContent = document.title = `${action} with ${name}`;
  byId("go").textContent = action;
  byId("output-title").textContent = output;
  byId("input-title").textContent = images ? "Image" : "Text";
  byId("hint").textContent = images ? "" : model.task === "QuestionAnswering"
    ? "A line is a story; its last sentence is the question." : hint;
  byId("insert").hidden = state.path !== "fill";
  byId("text").hidden = byId("files").hidden = images;
  byId("image-box").hidden = !images;
  byId("files-note").textContent = `A text file in UTF-8: each line is ${{
    translate: "translated", generate: "continued", fill: "filled in", classify: "classified" }[state.path]} by itself.`;
  byId("status").textContent = byId("error").textContent = "";
  byId("viewer").hidden = true;
  byId("frame").replaceChildren();
  drawFields(task());
  drawLanguages();
  drawOutput();
  drawDetails();
}

function askForToken(message) {
  const had = sessionStorage.getItem(TOKEN);
  byId("main").hidden = true;
  byId("token-form").hidden = false;
  byId("token-error").textContent = had ? message : "";
  byId("token").focus();
}

/** Asks which models there are. */
async function begin() {
  await guarded(async (signal) => {
    state.models = (await (await request("models", { signal })).json()).models;
    const usable = state.models.filter(({ paths }) => Object.keys(TASKS).some((path) => paths.includes(path)));
    byId("model").replaceChildren(...usable.map(({ name }) => make("option", { value: name }, name)));
    byId("model-label").hidden = usable.length < 2;
    byId("token-form").hidden = true;
    byId("main").hidden = false;
    useModel(usable[0].name);
  });
  document.documentElement.dataset.ready = "yes";
}

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, byId("token").value.trim());
  begin();
});
byId("model").addEventListener("change", ({ target }) => useModel(target.value));
byId("go").addEventListener("click", go);
byId("stop").addEventListener("click", () => state.running?.abort());
byId("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) go();
});
byId("insert").addEventListener("click", () => {
  const box = byId("text");
  box.setRangeText("[MASK]", box.selectionStart, box.selectionEnd, "end");
  box.focus();
});
byId("image").addEventListener("change", ({ target }) => {
  const picture = byId("picture");
  URL.revokeObjectURL(picture.src);
  picture.hidden = !target.files[0];
  if (target.files[0]) picture.src = URL.createObjectURL(target.files[0]);
});
byId("copy").addEventListener("click", () => navigator.clipboard.writeText(
  state.rows.map((row) => (row.continues ? row.text : "") + outputOf(row)).join("\n")));
for (const path of ["attend", "beam"]) byId(path).addEventListener("click", () => view(path));
byId("close").addEventListener("click", () => {
  byId("viewer").hidden = true;
  byId("frame").replaceChildren();
});
listenToFiles();
begin();
