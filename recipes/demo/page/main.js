// The page of `inlay demo`: a client of `inlay serve` that keeps the conversation, its media and the settings.
import { about, blobOf, complete } from "/api.js";
import { capture, offered } from "/capture.js";
import { announce, at, make, trouble } from "/dom.js";
import { Medium, NAMES } from "/media.js";
import { settings, showExamples, showFacts, showSettings } from "/panel.js";
import * as talk from "/talk.js";

let facts = null;
let pending = [];
let running = null; // ends the answers that are being written

const adapterOf = (id) => facts.adapters.find((adapter) => adapter.id === id);
const chosen = () => [at("model").value, at("other").value].filter((id, n, all) => id && all.indexOf(id) === n);
const reads = () => [...new Set(chosen().flatMap((id) => adapterOf(id).reads))];

function showPending() {
  at("pending").hidden = pending.length === 0;
  at("pending").replaceChildren(...pending.map((medium, place) => {
    const label = `${NAMES[medium.kind]} ${medium.name}`.trim();
    const remove = make("button", { type: "button", className: "quiet remove", "aria-label": `Remove ${label}` }, "×");
    remove.addEventListener("click", () => {
      pending.splice(place, 1)[0].free();
      showPending();
      (at("pending").querySelectorAll("button")[Math.min(place, pending.length - 1)] || at("text")).focus();
      announce(`${label} removed`);
    });
    return make("li", {}, medium.element(label), remove);
  }));
  at("blind-label").hidden = pending.length === 0 && talk.media().length === 0;
}

/** Attach media; several errors become one message. */
async function attach(files) {
  const problems = [];
  for (const file of files) {
    try {
      add(await Medium.of(file, reads()));
    } catch (error) {
      problems.push(error.message);
    }
  }
  showPending();
  trouble(problems.join(" "));
  at("text").focus();
}

function add(medium) {
  const { parts, request_bytes: most } = facts.limits;
  const all = [...talk.media(), ...pending, medium];
  if (all.length > parts) throw new Error(`A conversation has at most ${parts} media; start a new one.`);
  if (all.reduce((sum, { size }) => sum + size, 0) > most * 0.95) {
    throw new Error(`The media of a conversation have at most ${Math.floor((most * 0.7) / 1e6)} MB together.`);
  }
  pending.push(medium);
  announce(`${NAMES[medium.kind]} ${medium.name} attached`);
}

function setBusy(busy) {
  at("send").hidden = busy;
  at("stop").hidden = !busy;
  for (const name of ["reset", "model", "other"]) at(name).disabled = busy;
}

function reset() {
  talk.clear();
  for (const medium of pending) medium.free();
  pending = [];
  at("text").value = "";
  at("blind").checked = false;
  showPending();
  trouble("");
  at("text").focus();
}

/** Put a turn back into the form, with what was asked after it removed. */
function edit(turn) {
  if (running) return;
  for (const medium of pending) if (!turn.media.includes(medium)) medium.free();
  pending = turn.media;
  at("text").value = turn.text;
  at("blind").checked = turn.blind;
  talk.removeFrom(turn, turn.media);
  showPending();
  at("text").focus();
}

async function answer(turn, adapter, fields, signal) {
  const start = performance.now();
  let text = "";
  try {
    const body = { model: adapter, messages: await talk.messagesFor(adapter, turn.blind), ...fields };
    const found = await complete(body, signal, (whole) => talk.showText(turn, adapter, text = whole));
    talk.showAnswer(turn, adapter, { ...found, seconds: (performance.now() - start) / 1000 });
  } catch (error) {
    if (error.name !== "AbortError") throw error;
    talk.showAnswer(turn, adapter, { text, media: [], missing: [], reason: "stopped", tokens: 0 });
  }
}

async function send(event) {
  event.preventDefault();
  const text = at("text").value.trim();
  const blind = at("blind").checked && !at("blind-label").hidden;
  if (running || facts === null) return;
  if (!text && (blind || pending.length === 0)) return trouble("Write a question.");
  const adapters = chosen();
  let fields;
  try {
    fields = Object.fromEntries(adapters.map((id) => [id, settings(Object.keys(adapterOf(id).generation))]));
  } catch (error) {
    return trouble(error.message);
  }
  trouble("");
  announce("Answering");
  running = new AbortController();
  setBusy(true);
  const turn = talk.addTurn(text, pending, blind, adapters, edit);
  pending = [];
  at("text").value = "";
  showPending();
  const ended = await Promise.allSettled(adapters.map((id) => answer(turn, id, fields[id], running.signal)));
  running = null;
  setBusy(false);
  const failed = ended.map(({ reason }, n) => [adapters[n], reason]).filter(([, reason]) => reason);
  if (failed.length === adapters.length) {
    edit(turn); // as if it had not been asked
    trouble([...new Set(failed.map(([, reason]) => reason.message))].join(" "));
  } else {
    for (const [adapter, reason] of failed) talk.showFailure(turn, adapter, reason.message);
  }
  at("text").focus();
}

async function record(kinds) {
  let made = null;
  try {
    made = await capture(kinds, facts.limits.seconds);
    if (made) add(new Medium(made.kind, made.blob, "recording"));
    trouble("");
  } catch (error) {
    trouble(error.name === "NotAllowedError" ? "The browser did not allow the device." : error.message);
  }
  showPending();
  if (made) at("text").focus();
}

async function choose(example) {
  if (running) return;
  reset();
  if (!example.media.every(({ kind }) => reads().includes(kind))) at("model").value = example.adapter;
  showChoice();
  try {
    for (const { kind, url } of example.media) add(new Medium(kind, await blobOf(url)));
  } catch (error) {
    trouble(error.message);
  }
  showPending();
  at("text").value = example.question;
}

/** Show what the chosen adapters can do. */
function showChoice() {
  const adapters = chosen().map(adapterOf);
  const kinds = reads();
  const words = kinds.map((kind) => NAMES[kind]);
  const list = words.length > 1 ? `${words.slice(0, -1).join(", ")} or ${words.at(-1)}` : words[0];
  at("files").accept = kinds.map((kind) => `${kind}/*`).join(",") + (kinds.includes("video") ? ",image/gif" : "");
  at("pick").hidden = kinds.length === 0;
  at("microphone").hidden = !kinds.includes("audio") || !offered();
  at("camera").hidden = !(kinds.includes("image") || kinds.includes("video")) || !offered();
  at("blind-words").textContent = `Answer without the ${words.length === 1 ? words[0] : "media"}`;
  const makes = [...new Set(adapters.flatMap(({ generation }) => Object.keys(generation)))];
  const asks = makes.length ? ` It can make ${makes.map((kind) => `${NAMES[kind]}s`).join(", ")} too.` : "";
  at("hint").textContent = (list ? `Add a ${list} (drop, paste, or choose files) and ask about it.` : "Ask a question.")
    + asks + " Later questions may refer to earlier ones.";
  showSettings(facts, adapters);
  showFacts(adapters);
  showPending();
}

async function start() {
  facts = await about();
  const names = facts.adapters.map(({ id }) => id);
  at("title").textContent = names.length === 1 ? facts.adapters[0].name : "inlay demo";
  document.title = `${names.join(", ")} – inlay demo`;
  at("model").replaceChildren(...names.map((id) => make("option", { value: id }, id)));
  at("model-label").hidden = names.length === 1;
  at("other").replaceChildren(make("option", { value: "" }, "none"), ...names.map((id) => make("option", { value: id }, id)));
  at("other-label").hidden = names.length === 1;
  at("logout").hidden = !facts.login;
  at("text").maxLength = Math.min(facts.limits.characters, 20000);
  showExamples(facts.examples, choose);
  showChoice();
}

at("form").addEventListener("submit", send);
at("settings").addEventListener("submit", send);
at("reset").addEventListener("click", reset);
at("stop").addEventListener("click", () => running?.abort());
at("model").addEventListener("change", showChoice);
at("other").addEventListener("change", showChoice);
at("pick").addEventListener("click", () => at("files").click());
at("files").addEventListener("change", () => { attach([...at("files").files]); at("files").value = ""; });
at("microphone").addEventListener("click", () => record(["audio"]));
at("camera").addEventListener("click", () => record(["image", "video"].filter((kind) => reads().includes(kind))));
at("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && running) running.abort();
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) attach([...event.clipboardData.files]);
});
// A file that is dropped anywhere is attached; the browser would otherwise open it in place of the page.
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) attach([...event.dataTransfer.files]);
  });
}
start().catch((error) => trouble(error.message));
