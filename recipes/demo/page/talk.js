// The conversation: it lives in this page and is sent with every question; the server keeps nothing of it.
import { announce, at, button, make, number } from "/dom.js";
import { mediumOfPart, NAMES } from "/media.js";

/** Turns {text, media, blind, answers: {adapter: answer}, element}; the last may be unanswered. */
export const turns = [];

/** The parts of a user's turn. */
async function content({ text, media }, blind) {
  const parts = blind ? [] : await Promise.all(media.map((medium) => medium.part()));
  return [...parts, ...(text ? [{ type: "text", text }] : [])];
}

/** The messages of a request to one adapter: its own answers where it gave some, otherwise those of another. */
export async function messagesFor(adapter, blind) {
  const messages = [];
  for (const turn of turns) {
    messages.push({ role: "user", content: await content(turn, blind || turn.blind) });
    const answer = turn.answers[adapter] || Object.values(turn.answers)[0];
    if (answer && turn !== turns.at(-1)) {
      messages.push({ role: "assistant", content: answer.text, ...(answer.media.length ? { media: answer.media } : {}) });
    }
  }
  return messages;
}

/** The media of all turns. */
export const media = () => turns.flatMap((turn) => turn.media);

function scroll() {
  const log = at("log");
  log.scrollTop = log.scrollHeight;
  at("form").scrollIntoView({ block: "nearest" }); // on small screens the page scrolls, not the log
}

/** Add a user's turn, and a place for the answer of each adapter. */
export function addTurn(text, attached, blind, adapters, edit) {
  const turn = { text, media: attached, blind, answers: {}, element: make("div", { className: "turn" }) };
  const asked = make("div", { className: "bubble user" },
    make("div", { className: "media" },
      ...attached.map((medium, n) => medium.element(`your ${NAMES[medium.kind]} ${n + 1}`))),
    make("p", { className: "words" }, text));
  const tools = make("div", { className: "line" }, blind ? make("span", { className: "mark" }, "blind") : null,
    button("Edit", () => edit(turn)));
  turn.places = Object.fromEntries(adapters.map((adapter) => [adapter, place(adapter, adapters.length > 1)]));
  turn.element.append(make("div", { className: "asked" }, asked, tools),
    make("div", { className: "answers" }, ...Object.values(turn.places).map(({ element }) => element)));
  at("hint").hidden = true;
  at("log").append(turn.element);
  turns.push(turn);
  scroll();
  return turn;
}

function place(adapter, named) {
  const words = make("p", { className: "words waiting" }, "thinking …");
  const note = make("p", { className: "note" });
  const element = make("article", { className: "bubble assistant", "aria-label": `Answer of ${adapter}` },
    named ? make("h3", {}, adapter) : null, words, note);
  return { element, words, note };
}

/** Show the text of an answer while it is written. */
export function showText(turn, adapter, text) {
  const { words } = turn.places[adapter];
  words.classList.remove("waiting");
  words.textContent = text;
  scroll();
}

/** Show a whole answer, or the part of one that was stopped. */
export function showAnswer(turn, adapter, answer) {
  const { element, words, note } = turn.places[adapter];
  turn.answers[adapter] = answer;
  const made = answer.media.map(mediumOfPart);
  words.classList.remove("waiting");
  words.textContent = answer.text || (made.length ? "" : "(no text)");
  words.hidden = !words.textContent;
  note.before(make("div", { className: "media" }, ...made.map((medium, n) => {
    const shown = medium.element(`generated ${NAMES[medium.kind]} ${n + 1}`);
    shown.addEventListener("load", scroll);
    return shown;
  })));
  turn.made = [...(turn.made || []), ...made];
  const ends = { length: "the limit of tokens ended it", stopped: "stopped" };
  note.textContent = [
    ...answer.missing,
    answer.tokens ? `${number(answer.tokens)} tokens in ${answer.seconds.toFixed(1)} s` : "",
    ends[answer.reason] || "",
  ].filter(Boolean).join(" · ");
  element.classList.add("whole");
  const heard = made.map(({ kind }) => `a ${NAMES[kind]}`).join(" and ");
  announce(`${Object.keys(turn.places).length > 1 ? `${adapter}: ` : ""}${[answer.text, heard].filter(Boolean).join(" and ")}`);
  scroll();
}

/** Show an error in the place of one of several answers. */
export function showFailure(turn, adapter, message) {
  const { words } = turn.places[adapter];
  words.className = "words failed";
  words.textContent = message;
}

/** Remove a turn and all later ones; the media of the removed turns are freed, except those that are kept. */
export function removeFrom(turn, kept = []) {
  for (const gone of turns.splice(turns.indexOf(turn))) {
    for (const medium of [...gone.media, ...(gone.made || [])]) if (!kept.includes(medium)) medium.free();
    gone.element.remove();
  }
  at("hint").hidden = turns.length > 0;
}

export function clear() {
  if (turns.length) removeFrom(turns[0]);
}
