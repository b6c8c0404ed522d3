// The panel beside the conversation: settings of a request, examples of the run, facts about the adapter.
import { at, make, number } from "/dom.js";
import { NAMES } from "/media.js";

const field = (name, label, range, hint) => make("label", {}, label,
  make("input", { type: "number", name, placeholder: hint, ...range }));

/** Build the settings that the chosen adapters have. */
export function showSettings({ limits, temperature }, adapters) {
  const kept = new FormData(at("settings"));
  const generation = Object.assign({}, ...adapters.map((adapter) => adapter.generation));
  at("settings").replaceChildren(
    field("max_tokens", "Tokens of an answer", { min: 1, max: limits.most_tokens, step: 1 }, limits.new_tokens),
    field("temperature", "Temperature (0: the most likely token)", { min: 0, max: 2, step: "any" }, temperature),
    field("seed", "Seed", { min: 0, max: 2 ** 31, step: 1 }, "a new one each time"),
    field("num_beams", "Beams (without temperature)", { min: 1, max: limits.beams, step: 1 }, 1),
    ...Object.entries(generation).flatMap(([kind, own]) => [
      field(`${kind}.steps`, `Steps of a ${NAMES[kind]}`, { min: 1, max: limits.steps, step: 1 }, own.steps ?? "as trained"),
      field(`${kind}.guidance_scale`, `Guidance of a ${NAMES[kind]}`, { min: 0, max: 100, step: "any" },
        own.guidance_scale ?? "as trained"),
    ]),
  );
  for (const [name, value] of kept) {
    if (at("settings").elements[name]) at("settings").elements[name].value = value;
  }
}

/** The fields of a request; throws if a value is out of its range. `makes` are the modalities of one adapter. */
export function settings(makes) {
  for (const input of at("settings").elements) {
    if (!input.checkValidity()) {
      at("settings-panel").open = true;
      input.focus();
      throw new Error(`${input.parentElement.firstChild.textContent}: ${input.validationMessage}`);
    }
  }
  const fields = {};
  for (const [name, text] of new FormData(at("settings"))) {
    if (text === "") continue;
    const [kind, option] = name.split(".");
    if (option === undefined) fields[name] = Number(text);
    else if (makes.includes(kind)) ((fields.generation ??= {})[kind] ??= {})[option] = Number(text);
  }
  return fields;
}

/** Show the examples; `choose` is called with the one that is clicked. */
export function showExamples(examples, choose) {
  at("gallery").hidden = examples.length === 0;
  at("examples").replaceChildren(...examples.map((example) => {
    const pictures = example.media.filter(({ type }) => type.startsWith("image/"));
    const element = make("button", { type: "button", className: "quiet" },
      ...pictures.map(({ url }) => make("img", { src: url, alt: "" })),
      make("span", {}, ...example.media.filter((item) => !pictures.includes(item)).map(({ kind }) => `[${NAMES[kind]}] `),
        example.question));
    element.addEventListener("click", () => choose(example));
    return element;
  }));
}

const rows = (pairs) => make("dl", {}, ...pairs.filter(([, value]) => value).flatMap(([name, value]) => [
  make("dt", {}, name), make("dd", {}, value),
]));

/** Show the facts about the chosen adapters. */
export function showFacts(adapters) {
  at("facts").replaceChildren(...adapters.map((facts) => {
    const named = (kinds) => kinds.map((kind) => `${NAMES[kind]}s`).join(", ");
    const scores = Object.entries(facts.metrics).map(([name, value]) => `${name} ${value.toFixed(3)}`).join(", ");
    return make("section", {}, make("h3", {}, facts.name), rows([
      ["System", facts.system],
      ["Reads", named(facts.reads) || "text alone"],
      ["Generates", named(Object.keys(facts.generation))],
      ["Size", `${number(facts.parameters)} parameters, ${number(Math.ceil(facts.bytes / 1000))} kB in bf16`],
      ["Parts", facts.parts.map(({ name, kind }) => `${name} (${kind})`).join(", ")],
      ["Backbone", facts.backbone.map(({ port, source, family }) => `${port}: ${source || family}`).join(", ")],
      ["Held-out scores", scores],
      ["Trained on", facts.training?.data],
      ["Licence", facts.license],
    ]));
  }));
}
