/** A file in, a file out: some lines at a time, with the settings that the page had when
 * it was chosen. */

const LINES = 16;  // in a request
const AT_ONCE = 2;  // requests, so that one waits while the other is computed

const fileState = { abort: null };

/** The lines of a file. */
async function readLines(file) {
  const bytes = await file.arrayBuffer();
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Refused(0, `${file.name}: not UTF-8 text`);
  }
  const lines = text.split(/\r?\n/);
  if (lines.at(-1) === "") lines.pop();
  if (!lines.length) throw new Refused(0, `${file.name}: is empty`);
  return lines;
}

/** The output lines of some input lines by what `now` is; a line that is refused alone
 * has none, and its number is noted. */
async function outputLines(now, lines, first, refused, signal) {
  try {
    const found = await results(now.path, { ...now.settings, ...now.task.body(lines) }, signal);
    return found.map(now.task.line);
  } catch (error) {
    if (![400, 413].includes(error.status)) throw error;
    if (lines.length === 1) {
      refused.push([first, error.message]);
      return [""];
    }
    const each = [];
    for (const [i, line] of lines.entries()) {
      each.push(...await outputLines(now, [line], first + i, refused, signal));
    }
    return each;
  }
}

async function convert(file) {
  fileState.abort?.abort();
  const abort = fileState.abort = new AbortController();
  const now = { path: state.path, task: task(), settings: requestOf([]) };
  const progress = byId("progress"), refused = [];
  for (const id of ["files-status", "files-error"]) byId(id).textContent = "";
  byId("download").hidden = true;
  try {
    const lines = await readLines(file), output = new Array(lines.length);
    abort.signal.throwIfAborted();
    let next = 0, done = 0;
    Object.assign(progress, { max: lines.length, value: 0, hidden: false });
    byId("cancel").hidden = false;
    const work = async () => {
      while (next < lines.length) {
        const first = next;
        next += LINES;
        const found = await outputLines(now, lines.slice(first, first + LINES), first + 1, refused, abort.signal);
        found.forEach((line, i) => { output[first + i] = line; });
        progress.value = done += found.length;
        byId("files-status").textContent = `${done.toLocaleString("en")} of ${lines.length.toLocaleString("en")} lines`;
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    offer(file, now.path, output);
    if (refused.length) {
      const [number, message] = refused.sort((a, b) => a[0] - b[0])[0];
      byId("files-error").textContent = `${refused.length} lines were refused and are empty, the first of them line ${number}: ${message}`;
    }
  } catch (error) {
    if (fileState.abort !== abort) return;  // another file was chosen
    const cancelled = abort.signal.aborted && error.name === "AbortError";
    byId("files-error").textContent = cancelled ? "Cancelled." : error.message;
    abort.abort();
  } finally {
    if (fileState.abort === abort) {
      progress.hidden = byId("cancel").hidden = true;
      byId("file").value = "";
    }
  }
}

function offer(file, path, output) {
  const link = byId("download");
  if (link.href) URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([output.join("\n"), "\n"], { type: "text/plain" }));
  link.download = `${file.name.replace(/\.[^.]*$/, "")}.${path}.txt`;
  link.textContent = `Download ${link.download}`;
  link.hidden = false;
}

function listenToFiles() {
  byId("file").addEventListener("change", ({ target }) => target.files[0] && convert(target.files[0]));
  byId("cancel").addEventListener("click", () => fileState.abort?.abort());
  const drop = byId("drop");
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragenter" || kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files[0]) convert(event.dataTransfer.files[0]);
    });
  }
}
