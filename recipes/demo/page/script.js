"use strict";
// The whole conversation lives here and is sent with every question; the server remembers nothing.
// Whatever comes from a person or a model is put in by textContent, pictures by the browser's own object URLs.

const at = (id) => document.getElementById(id);
let limits = { upload_bytes: 10e6, pictures: 8, new_tokens: 512 };
let turns = [];
let sent = [];
let pending = [];
let busy = false;

function make(tag, className, text) {
  const element = document.createElement(tag);
  element.className = className || "";
  if (text !== undefined) element.textContent = text;
  return element;
}

function picture(blob, alt) {
  const image = make("img");
  image.alt = alt;
  image.src = URL.createObjectURL(blob);
  return image;
}

function trouble(text) {
  at("trouble").textContent = text || "";
  at("trouble").hidden = !text;
}

function say(role, text, pictures) {
  at("hint").hidden = true;
  const turn = make("div", "turn " + role);
  for (const blob of pictures || []) turn.append(picture(blob, "the picture asked about"));
  turn.append(make("span", "", text));
  at("log").append(turn);
  turn.scrollIntoView({ block: "end" });
  return turn;
}

function showPending() {
  at("pending").replaceChildren(...pending.map((blob, place) => {
    const button = make("button");
    button.type = "button";
    button.title = "Remove";
    button.append(picture(blob, "remove this picture"));
    button.addEventListener("click", () => { pending.splice(place, 1); showPending(); });
    return button;
  }));
}

function add(files) {
  const blobs = Array.from(files);
  const total = [...sent, ...pending, ...blobs];
  const bytes = total.reduce((sum, blob) => sum + blob.size, 0);
  if (blobs.some((blob) => !["image/jpeg", "image/png", "image/webp"].includes(blob.type))) {
    return trouble("Only JPEG, PNG and WebP pictures can be shown.");
  }
  if (total.length > limits.pictures) {
    return trouble(total.length + " pictures are too many: a conversation has at most " + limits.pictures + ".");
  }
  if (bytes > limits.upload_bytes * 0.99) {
    return trouble("These pictures are too large: together at most " + limits.upload_bytes / 1e6 + " MB.");
  }
  trouble("");
  pending.push(...blobs);
  showPending();
  at("text").focus();
}

function reset() {
  turns = [];
  sent = [];
  pending = [];
  for (const image of at("log").querySelectorAll("img, audio")) URL.revokeObjectURL(image.src);
  at("log").replaceChildren(at("hint"));
  at("hint").hidden = false;
  showPending();
  trouble("");
}

async function* linesOf(stream) {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    rest += decoder.decode(value, { stream: !done });
    const whole = rest.split("\n");
    rest = whole.pop();
    yield* whole;
    if (done) return;
  }
}

function medium(made) {
  const bytes = Uint8Array.from(atob(made.data), (character) => character.charCodeAt(0));
  const blob = new Blob([bytes], { type: made.type });
  if (made.modality !== "audio") return picture(blob, "what was made: " + (made.caption || made.modality));
  const sound = make("audio");
  sound.controls = true;
  sound.src = URL.createObjectURL(blob);
  return sound;
}

async function ask(turn, pictures, hear) {
  const form = new FormData();
  form.append("conversation", JSON.stringify({ turns: [...turns, turn] }));
  form.append("max_new_tokens", at("tokens").value);
  form.append("temperature", at("heat").value);
  for (const blob of [...sent, ...pictures]) form.append("picture", blob);
  let response;
  try {
    response = await fetch("/ask", { method: "POST", body: form, headers: { Accept: "application/x-ndjson" } });
  } catch (error) {
    throw new Error("The demo does not answer. Is it still running?");
  }
  if (!response.ok) throw new Error((await response.json()).error);
  for await (const line of linesOf(response.body)) {
    const said = JSON.parse(line);
    if (said.error !== undefined) throw new Error(said.error);
    if (said.answer !== undefined) return said.answer;
    hear(said.text);
  }
  throw new Error("The answer broke off. Is the demo still running?");
}

async function submit(event) {
  event.preventDefault();
  const text = at("text").value.trim();
  if (busy || !text) return;
  busy = true;
  at("send").disabled = at("reset").disabled = true;
  trouble("");
  const pictures = pending;
  const turn = { role: "user", text, pictures: pictures.length };
  pending = [];
  showPending();
  at("text").value = "";
  const shown = say("user", text, pictures);
  const answer = say("assistant waiting", "thinking …");
  try {
    let heard = "";
    const reply = await ask(turn, pictures, (piece) => {
      heard += piece;
      answer.className = "turn assistant";
      answer.lastChild.textContent = heard;
      answer.scrollIntoView({ block: "end" });
    });
    const made = reply.made.map(({ modality, caption }) => ({ modality, caption }));
    turns.push(turn, { role: "assistant", text: reply.text, ...(made.length ? { made } : {}) });
    sent.push(...pictures);
    answer.className = "turn assistant";
    const words = [reply.text, ...reply.missing.map((why) => "(" + why + ")")].filter(Boolean).join("\n");
    answer.lastChild.textContent = words || (made.length ? "" : "(no words)");
    answer.append(...reply.made.map(medium));
    answer.scrollIntoView({ block: "end" });
  } catch (error) {
    // As if it had not been asked: the words and pictures are back where they were.
    shown.remove();
    answer.remove();
    at("hint").hidden = turns.length > 0;
    pending = pictures;
    showPending();
    at("text").value = text;
    trouble(error.message);
  }
  busy = false;
  at("send").disabled = at("reset").disabled = false;
  at("text").focus();
}

async function start() {
  const about = await (await fetch("/about")).json();
  limits = about.limits;
  at("title").textContent = about.title;
  document.title = about.title + " – inlay demo";
  at("tokens").value = about.max_new_tokens;
  at("tokens").max = limits.new_tokens;
  at("gallery").hidden = about.examples.length === 0;
  about.examples.forEach((question, number) => {
    const button = make("button");
    const image = make("img");
    button.type = "button";
    button.title = question;
    image.alt = "example: " + question;
    image.src = "/example/" + number;
    button.append(image);
    button.addEventListener("click", async () => {
      if (busy) return;
      reset();
      add([await (await fetch("/example/" + number)).blob()]);
      at("text").value = question;
    });
    at("examples").append(button);
  });
}

at("form").addEventListener("submit", submit);
at("reset").addEventListener("click", () => { if (!busy) reset(); });
at("files").addEventListener("change", () => { add(at("files").files); at("files").value = ""; });
at("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) add(event.clipboardData.files);
});
// A picture dropped beside its place would otherwise replace the page.
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) add(event.dataTransfer.files);
  });
}
start();
