// Elements and announcements. Texts of users and models are set by textContent, never parsed as HTML.

export const at = (id) => document.getElementById(id);

/** A new element; `fields` are properties of it, children are elements or texts. */
export function make(tag, fields = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(fields)) {
    if (name.startsWith("aria-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

export function button(text, click, className = "quiet small") {
  const element = make("button", { type: "button", className }, text);
  element.addEventListener("click", click);
  return element;
}

/** Say something to users of screen readers. */
export function announce(text) {
  at("status").textContent = text;
}

/** Show an error, or remove it. */
export function trouble(text) {
  at("trouble").textContent = text || "";
  at("trouble").hidden = !text;
}

export const number = (value) => new Intl.NumberFormat("en").format(value);
