// The page of `inlay demo` in headless Chromium, as a user sees it.
//   node check_page.mjs SCENARIO URL FOLDER [PASSWORD]
// FOLDER holds the media that the scenario attaches, and receives screenshots. Prints one JSON object with what was seen.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [scenario, url, folder, password] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const media = (name) => `${folder}/${name}`;
const problems = [];

async function open(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, permissions: ["camera", "microphone"], ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(60000);
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("console", (line) => { if (line.type() === "error") problems.push(line.text()); });
  page.on("request", (request) => { if (!request.url().startsWith(url) && !/^(blob|data):/.test(request.url())) problems.push(`foreign: ${request.url()}`); });
  await page.goto(url);
  if (scenario !== "login") await ready(page);
  return page;
}

const ready = (page) => page.waitForFunction(() => document.querySelector("#hint").textContent.length > 0);
const answered = (page, count = 1) => page.waitForFunction(
  (wanted) => document.querySelectorAll(".assistant.whole").length >= wanted, count);
const words = (page) => page.locator(".assistant .words").allTextContents();

async function ask(page, text, count = 1) {
  await page.fill("#text", text);
  await page.click("#send");
  await answered(page, count);
}

async function attach(page, ...names) {
  await page.setInputFiles("#files", names.map(media));
  await page.waitForFunction((count) => document.querySelectorAll("#pending li").length === count, names.length);
}

/** The body of the next question. */
function nextBody(page) {
  return page.waitForRequest((request) => request.url().endsWith("/v1/chat/completions")).then((request) => request.postDataJSON());
}

/** Serious findings of axe-core. */
async function serious(page) {
  await page.evaluate(`${axe}; undefined`).catch(() => page.addScriptTag({ content: axe }));
  const found = await page.evaluate(() => window.axe.run());
  return found.violations.filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(" ")).join(", ")}`);
}

const overflow = (page) => page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);

/** Record until the device gave something: on a busy machine the first frames come late. */
async function recorded(page, opener, made) {
  for (let seconds = 1; ; seconds *= 2) {
    await page.click(opener);
    await page.click("#record");
    await page.waitForFunction(() => document.querySelector("#record").textContent === "Finish"
      || !document.querySelector("#trouble").hidden);
    if (await page.isVisible("#record")) {
      await page.waitForTimeout(seconds * 1000);
      await page.click("#record");
    }
    await page.waitForSelector(`${made}, #trouble:not([hidden])`);
    if (await page.isVisible(made) || seconds > 30) return;
  }
}

/** Dispatch an event with a file of the page's own making. */
const give = (page, kind, type, data) => page.evaluate(async ([event, mime, base64]) => {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], "given", { type: mime }));
  const made = event === "paste" ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true })
    : new DragEvent(event, { dataTransfer: transfer, bubbles: true, cancelable: true });
  document.querySelector("main").dispatchEvent(made);
}, [kind, type, data.toString("base64")]);

const scenarios = {
  async picture(browser) {
    const page = await open(browser);
    await attach(page, "1.png");
    const body = nextBody(page);
    await ask(page, "what is shown ?");
    await page.screenshot({ path: media("picture.png") });
    return { words: await words(page), kinds: (await body).messages[0].content.map(({ type }) => type), spoken: await page.textContent("#status") };
  },

  async example(browser) {
    const page = await open(browser);
    await page.focus("#examples button:nth-child(2)");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#pending li");
    const text = await page.inputValue("#text");
    await page.keyboard.press("Enter");
    await answered(page);
    return { text, words: await words(page), thumbnails: await page.locator("#examples img").evaluateAll((all) => all.map((one) => one.naturalWidth > 0)) };
  },

  async sound(browser) {
    const page = await open(browser);
    await attach(page, "1.wav");
    await page.waitForFunction(() => document.querySelector("#pending audio").readyState > 0);
    const body = nextBody(page);
    await ask(page, "what is heard ?");
    return { words: await words(page), kinds: (await body).messages[0].content.map(({ type }) => type) };
  },

  async devices(browser) {
    const page = await open(browser);
    await recorded(page, "#microphone", "#pending audio");
    await page.click("#camera");
    await page.waitForFunction(() => document.querySelector("#viewfinder").videoWidth > 0);
    await page.screenshot({ path: media("camera.png") });
    await page.click("#shoot");
    await page.waitForSelector("#pending img");
    await recorded(page, "#camera", "#pending video");
    const body = nextBody(page);
    await ask(page, "what is this ?");
    const parts = (await body).messages[0].content.filter(({ type }) => type !== "text");
    const active = await page.evaluate(() => document.querySelector("#viewfinder").srcObject);
    return { kinds: parts.map(({ type }) => type), starts: parts.map((part) => part[part.type].url.slice(0, 40)), active, words: await words(page) };
  },

  async draw(browser) {
    const page = await open(browser);
    await ask(page, "what is shown?");
    await page.waitForFunction(() => [...document.querySelectorAll(".assistant img")].some((image) => image.naturalWidth > 0));
    const first = await page.evaluate(() => [...document.querySelectorAll(".assistant img")].map(({ alt, naturalWidth }) => [alt, naturalWidth]));
    await page.screenshot({ path: media("draw.png") });
    await ask(page, "what is shown?", 2);
    return { first, trouble: await page.isVisible("#trouble"), count: await page.locator(".assistant img").count() };
  },

  async settings(browser) {
    const page = await open(browser);
    await page.click("#settings-panel summary");
    const names = await page.locator("#settings input").evaluateAll((inputs) => inputs.map(({ name }) => name));
    await page.fill("[name=max_tokens]", "3");
    await page.fill("[name=seed]", "5");
    await page.fill("[name=num_beams]", "2");
    if (names.includes("image.steps")) await page.fill("[name='image.steps']", "4");
    const body = nextBody(page);
    await ask(page, "what is shown?");
    const { messages, stream_options, ...fields } = await body;
    await page.fill("[name=max_tokens]", "0");
    await page.fill("#text", "again");
    await page.click("#send");
    await page.waitForSelector("#trouble:not([hidden])");
    return { names, fields, trouble: await page.textContent("#trouble"), focus: await page.evaluate(() => document.activeElement.name) };
  },

  async stop(browser) {
    const page = await open(browser);
    await page.fill("#text", "what is shown ?");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => {
      const element = document.querySelector(".assistant .words");
      return element && !element.classList.contains("waiting") && element.textContent;
    });
    const busy = { ask: await page.isVisible("#send"), stop: await page.isVisible("#stop") };
    if (password === "escape") await page.keyboard.press("Escape");
    else await page.click("#stop");
    await answered(page);
    return { busy, note: await page.textContent(".assistant .note"), words: await words(page), ask: await page.isVisible("#send") };
  },

  async users(browser) {
    const pages = await Promise.all([open(browser), open(browser)]);
    await attach(pages[0], "1.png");
    await attach(pages[1], "2.png");
    await Promise.all(pages.map((page) => ask(page, "what is shown ?")));
    return { words: (await Promise.all(pages.map(words))).flat() };
  },

  async damaged(browser) {
    const page = await open(browser);
    await attach(page, "damaged.png");
    await page.fill("#text", "what is shown ?");
    await page.click("#send");
    await page.waitForSelector("#trouble:not([hidden])");
    const first = await page.textContent("#trouble");
    const kept = { text: await page.inputValue("#text"), media: await page.locator("#pending li").count(), turns: await page.locator(".turn").count() };
    await page.click("#pending .remove");
    await page.setInputFiles("#files", [media("notes.txt")]);
    await page.waitForFunction(() => document.querySelector("#trouble").textContent.includes("notes.txt"));
    const second = await page.textContent("#trouble");
    await give(page, "drop", "image/svg+xml", Buffer.from("<svg/>"));
    await page.waitForFunction(() => document.querySelector("#trouble").textContent.includes("given"));
    await attach(page, "1.png");
    await ask(page, "what is shown ?");
    return { first, kept, second, words: await words(page) };
  },

  async given(browser) {
    const page = await open(browser);
    const data = readFileSync(media("1.png"));
    await give(page, "paste", "image/png", data);
    await page.waitForSelector("#pending li:nth-child(1)");
    await give(page, "drop", "image/png", data);
    await page.waitForSelector("#pending li:nth-child(2)");
    const body = nextBody(page);
    await ask(page, "what is shown ?");
    return { kinds: (await body).messages[0].content.map(({ type }) => type) };
  },

  async blind(browser) {
    const page = await open(browser);
    const before = await page.isVisible("#blind-label");
    await attach(page, "1.png");
    await page.check("#blind");
    let body = nextBody(page);
    await ask(page, "what is shown ?");
    const first = (await body).messages.map(({ content }) => content);
    await page.uncheck("#blind");
    body = nextBody(page);
    await ask(page, "and now ?", 2);
    return { before, first, mark: await page.textContent(".mark"), second: (await body).messages.length, words: await words(page) };
  },

  async compare(browser) {
    const page = await open(browser);
    await attach(page, "1.png");
    await page.selectOption("#other", { label: "b" });
    await ask(page, "what is shown ?", 2);
    const bodies = [];
    page.on("request", (request) => { if (request.method() === "POST") bodies.push(request.postDataJSON()); });
    await ask(page, "and now ?", 4);
    await page.screenshot({ path: media("compare.png") });
    const boxes = await page.locator(".turn:first-of-type .assistant").evaluateAll((all) => all.map((one) => one.getBoundingClientRect().top));
    const said = Object.fromEntries(bodies.map(({ model, messages }) => [model, messages[1].content]));
    return { words: await words(page), beside: boxes[0] === boxes[1], said, names: await page.locator(".assistant h3").allTextContents() };
  },

  async edit(browser) {
    const page = await open(browser);
    await attach(page, "1.png");
    await ask(page, "what is shown ?");
    await ask(page, "and now ?", 2);
    await page.locator("text=Edit").first().click();
    const back = { turns: await page.locator(".turn").count(), text: await page.inputValue("#text"), media: await page.locator("#pending img").evaluateAll((all) => all.map((one) => one.complete)) };
    await ask(page, "<img src=x onerror=\"window.broken = true\"> **what** is shown ?");
    const injected = await page.evaluate(() => [window.broken === true, document.querySelectorAll(".user .words img").length]);
    const text = await page.textContent(".user .words");
    await page.click("#reset");
    return { back, injected, text, after: await page.locator(".turn").count(), hint: await page.isVisible("#hint") };
  },

  async keyboard(browser) {
    const page = await open(browser);
    const place = () => page.evaluate(() => {
      const element = document.activeElement;
      return element.id || element.getAttribute("aria-label") || element.textContent.trim();
    });
    const order = [];
    for (let n = 0; n < 16; n += 1) {
      await page.keyboard.press("Tab");
      const now = await place();
      if (order.includes(now)) break;
      order.push(now);
    }
    await page.reload();
    await ready(page);
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter"); // the link to the question
    await page.keyboard.type("what is shown ?");
    await page.keyboard.press("Shift+Enter");
    await page.keyboard.type("now");
    const typed = await page.inputValue("#text");
    await page.keyboard.press("Enter");
    await answered(page);
    const focus = await place();
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Enter"); // Edit of the turn
    const edited = { text: await page.inputValue("#text"), turns: await page.locator(".turn").count(), focus: await place() };
    await page.focus("#camera");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#capture[open]");
    await page.keyboard.press("Escape");
    await page.waitForSelector("#capture:not([open])", { state: "attached" });
    return { order, typed, focus, edited, back: await place(), outline: await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle) };
  },

  async looks(browser) {
    const found = {};
    for (const [name, width, height, colorScheme] of [["small", 360, 740, "light"], ["small-dark", 360, 740, "dark"], ["large", 1440, 900, "light"], ["large-dark", 1440, 900, "dark"]]) {
      const page = await open(browser, { viewport: { width, height }, colorScheme });
      await attach(page, "1.png");
      await ask(page, "what is shown ?");
      await attach(page, "2.png");
      await page.click("#settings-panel summary");
      await page.screenshot({ path: media(`${name}.png`), fullPage: true });
      const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      found[name] = { overflow: await overflow(page), serious: await serious(page), ground };
      await page.click("#camera");
      await page.waitForSelector("#capture[open]");
      found[name].dialog = await serious(page);
      await page.context().close();
    }
    return found;
  },

  async login(browser) {
    const page = await open(browser, { colorScheme: "dark", viewport: { width: 360, height: 640 } });
    const first = { address: page.url(), serious: await serious(page), overflow: await overflow(page) };
    await page.screenshot({ path: media("login.png") });
    await page.fill("#key", "wrong");
    await page.keyboard.press("Enter");
    await page.waitForSelector("[role=alert]");
    const wrong = await page.textContent("[role=alert]");
    problems.length = 0; // the browser reports the status 401
    await page.fill("#key", password);
    await page.keyboard.press("Enter");
    await page.waitForSelector("#hint");
    await ready(page);
    await ask(page, "what is shown ?");
    const cookie = await page.evaluate(() => document.cookie);
    await page.click("#logout button");
    await page.waitForSelector("#key");
    return { first, wrong, cookie, last: page.url() };
  },
};

// For the documentation: an example of the run, and questions in one conversation ("first question|second question").
scenarios.tour = async (browser) => {
  const [example, ...questions] = password.split("|");
  for (const [name, options] of [["tour", {}], ["tour-small", { viewport: { width: 360, height: 740 }, colorScheme: "dark" }]]) {
    const page = await open(browser, options);
    if (example) {
      await page.click(`#examples button:nth-child(${example})`);
      await page.waitForSelector("#pending li");
      await page.keyboard.press("Enter");
      await answered(page);
    }
    for (const [n, text] of questions.entries()) await ask(page, text, n + (example ? 2 : 1));
    await page.waitForTimeout(500);
    await page.screenshot({ path: media(`${name}.png`) });
  }
  return {};
};

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"],
});
try {
  const seen = await scenarios[scenario](browser);
  console.log(JSON.stringify({ ...seen, problems }));
} finally {
  await browser.close();
}
