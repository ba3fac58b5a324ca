/**
 * What the page offers for each path of the API. A task has
 *   action, output: the words on the page;
 *   hint: of the input;
 *   fields: settings, by the names that the API has for them;
 *   body(texts): a request of texts, without the settings;
 *   line(result): a result as one line of a file.
 */

const GREEDY = "Sampler()";
const oneLine = (text) => text.replace(/\s*\n\s*/g, " ");

const SAMPLERS = [["TopP(0.9)", "nucleus, p = 0.9"], ["TopK(40)", "top 40"],
  ["Temperature(1.0)", "whole distribution"], [GREEDY, "greedy"]];

const number = (name, label, value, min, max) => ({ name, label, value, min, max, type: "number" });
const choice = (name, label, choices) => ({ name, label, choices, value: choices[0][0], type: "select" });

const TASKS = {
  translate: {
    action: "Translate", output: "Translation",
    hint: "Each line is translated by itself.",
    fields: [
      number("beam", "Beam size", 4, 2, 16),
      { name: "penalty", label: "Length penalty", value: "GNMT(0.6)", type: "text" },
      { name: "prefix", label: "Begins with", value: "", type: "text" },
      number("max_length", "Most tokens", "", 1, 512),
    ],
    body: (texts) => ({ text: texts }),
    line: ({ hypotheses }) => oneLine(hypotheses[0]?.text ?? ""),
  },
  generate: {
    action: "Continue", output: "Continuation",
    hint: "The text is continued.",
    fields: [choice("sample", "Sampler", SAMPLERS), number("max_length", "New tokens", 64, 1, 512),
      number("seed", "Seed", 0, 0, 2 ** 32 - 1)],
    body: (texts) => ({ text: texts }),
    line: ({ texts }) => oneLine(texts[0]),
  },
  fill: {
    action: "Fill", output: "Predictions",
    hint: "Write [MASK] for each missing piece.",
    fields: [number("top", "Pieces of each mask", 5, 1, 50)],
    body: (texts) => ({ text: texts }),
    line: ({ text }) => oneLine(text),
  },
  classify: {
    action: "Classify", output: "Classes", hint: "",
    fields: [number("top", "Classes", 5, 1, 100)],
    body: (texts) => ({ text: texts }),
    line: ({ classes, error }) => (error ? "" : `${classes[0]?.class ?? ""}\t${(classes[0]?.probability ?? 0).toFixed(4)}`),
  },
};

/** Draws the settings of a task. */
function drawFields(task) {
  byId("fields").replaceChildren(...task.fields.flatMap((field) => {
    const id = `field-${field.name}`;
    const input = field.type === "select"
      ? make("select", { id }, ...field.choices.map(([value, label]) => make("option", { value }, label)))
      : make("input", { id, type: field.type, value: field.value, min: field.min, max: field.max });
    return [make("label", { for: id }, field.label), input];
  }));
}

/** The settings that were chosen, as fields of a request. */
function settings(task) {
  const found = {};
  for (const { name, type } of task.fields) {
    const { value } = byId(`field-${name}`);
    if (value !== "") found[name] = type === "number" ? Number(value) : value;
  }
  return found;
}
