// What the pages do beyond forms and links. Everything here is an addition: without it each page still works.

const root = document.documentElement;
const on = (name, act) => document.addEventListener(name, act);
const all = (selector, from = document) => [...from.querySelectorAll(selector)];

// -- time: the server's clock counts; a wrong one here must not show wrong seconds
const ahead = Date.now() / 1000 - Number(root.dataset.now);
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone) document.cookie = `garage-zone=${zone}; path=/; max-age=31536000; samesite=lax`;

function tick() {
  for (const place of all("[data-since]")) {
    const seconds = Math.max(0, Math.floor(Date.now() / 1000 - ahead - Number(place.dataset.since)));
    const text = place.textContent.replace(/[\d.]+/, seconds);
    if (seconds < 600 && text !== place.textContent) place.textContent = text;
  }
}

// -- events: a machine that changed is fetched again where it is shown
let stream;

function listen() {
  const url = document.body.dataset.events;
  if (!url || stream || document.hidden) return;
  stream = new EventSource(url);
  stream.addEventListener("open", lookAgain); // what happened between the page and the stream
  stream.addEventListener("machine", (event) => changed(JSON.parse(event.data)));
  stream.addEventListener("node", () => all("[data-nodes]").forEach((place) => htmx.trigger(place, "changed")));
  stream.addEventListener("site", () => document.dispatchEvent(new Event("garage:site"))); // sites.js
  stream.addEventListener("reset", lookAgain);
  stream.addEventListener("error", () => stream?.readyState === EventSource.CLOSED && later());
}

const told = new Map(); // machine → since when, by the stream, it is what it is
let counted = 0; // news, up to now, that changed how much is in use
const askedAt = new WeakMap(); // question to the server → `counted` when it went out

function changed({ id, state, state_since }) {
  told.set(id, state_since);
  const counts = ["preparing", "gone", "lost"].includes(state);
  if (counts) counted++;
  for (const place of all(`[data-machine="${CSS.escape(id)}"]`)) htmx.trigger(place, "changed");
  for (const place of all("[data-drain]")) htmx.trigger(place, "changed");
  if (counts) countAgain();
}

function countAgain() {
  const quota = document.getElementById("quota");
  if (quota) htmx.trigger(quota, "changed");
}

// what comes into the page may be older than the news of it: a row, or how much is in use
function catchUp(question) {
  for (const place of all("[data-machine]")) if (told.get(place.dataset.machine) > Number(place.dataset.at)) htmx.trigger(place, "changed");
  if (askedAt.get(question) < counted) countAgain();
}

// a stream that the server closed for good (an old version, a restart) is tried again; meanwhile what moves is fetched
function later() {
  quiet();
  refresh();
  setTimeout(listen, 3000);
}

function quiet() {
  stream?.close();
  stream = undefined;
}

const moving = new Set(["requested", "preparing", "booting", "stopping", "deleting"]);

function refresh() {
  for (const place of all("[data-machine]")) if (moving.has(place.dataset.state)) htmx.trigger(place, "changed");
}

// after a gap: the list as a whole, or the one machine
function lookAgain() {
  document.dispatchEvent(new Event("garage:site"));
  for (const place of all("[data-nodes]")) htmx.trigger(place, "changed");
  if (document.getElementById("list")) htmx.ajax("GET", location.pathname + location.search, { target: "#list", select: "#list", selectOOB: "#quota", swap: "outerMorph" });
  else for (const place of all("[data-machine]")) htmx.trigger(place, "changed");
}

// a hidden page holds no connection; seen again, it looks once and listens again
on("visibilitychange", () => {
  if (document.hidden) return quiet();
  lookAgain();
  listen();
});

// -- console
async function readConsole(box) {
  const answer = await fetch(box.dataset.console, { headers: { Accept: "text/plain" } }).catch(() => undefined);
  const text = answer?.ok ? await answer.text() : "";
  const pre = box.querySelector("pre");
  if (!text || pre.textContent === text) return;
  const atEnd = pre.scrollHeight - pre.scrollTop - pre.clientHeight < 40;
  pre.textContent = text;
  if (atEnd) pre.scrollTop = pre.scrollHeight;
}

const consoles = () => all("[data-console]").filter((box) => box.open && !document.hidden).forEach(readConsole);
document.addEventListener("toggle", (event) => event.target.matches?.("[data-console]") && consoles(), true);

// -- copying
async function copy(button) {
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
  } catch {
    getSelection().selectAllChildren(button.previousElementSibling);
    document.execCommand("copy");
  }
  button.classList.add("copied");
  button.querySelector("use").setAttribute("href", "#i-done");
  say(document.body.dataset.copied);
  setTimeout(() => {
    button.classList.remove("copied");
    button.querySelector("use").setAttribute("href", "#i-copy");
  }, 1500);
}

const spoken = Object.assign(document.createElement("p"), { className: "sr" });
spoken.setAttribute("role", "status");
const say = (text) => (spoken.textContent = text);

on("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
  event.target.closest("[data-dismiss]")?.closest(".notice").remove();
  for (const menu of all("details.drop[open]")) if (!menu.contains(event.target)) menu.open = false;
});

// -- several machines at once
function count() {
  const ticked = all('input[name="machine"]:checked').length;
  const bar = document.getElementById("many");
  bar?.classList.toggle("many-on", ticked > 0);
  const place = bar?.querySelector("[data-many-count]");
  if (place) place.textContent = ticked || "";
}
on("change", (event) => event.target.name === "machine" && count());

// -- keyboard: one key each, never while somebody types
const visit = (key) => document.querySelector(`[data-go="${key}"]`)?.click();
let afterG = 0;

function walk(step) {
  const names = all(".row-name");
  const here = names.indexOf(document.activeElement?.closest(".row")?.querySelector(".row-name"));
  names[Math.min(Math.max(here + step, 0), names.length - 1)]?.focus();
}

// -- finding a machine from anywhere
function seek() {
  const sheet = document.getElementById("seek");
  if (!sheet || sheet.open) return;
  sheet.showModal();
  document.getElementById("seek-text").select();
}

function walkFound(event) {
  const names = all("#found a");
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || !names.length) return;
  event.preventDefault();
  const here = names.indexOf(document.activeElement);
  if (here + step < 0) document.getElementById("seek-text").focus();
  else names[Math.min(here + step, names.length - 1)].focus();
}
on("click", (event) => event.target.closest("[data-seek]") && seek());
// Enter goes to the first that was found
document.querySelector("#seek form")?.addEventListener("submit", (event) => {
  const first = document.querySelector("#found a");
  if (first) event.preventDefault(), first.click();
});

const shortcuts = {
  "/": () => (document.getElementById("search") ?? { focus: seek }).focus(),
  n: () => (document.getElementById("new-name") ? document.getElementById("new-name").focus() : visit("m")),
  j: () => walk(1),
  k: () => walk(-1),
  c: () => (document.activeElement?.closest(".row") ?? document.querySelector(".connect") ?? document).querySelector(".c-ssh [data-copy], .connect [data-copy], [data-copy]")?.click(),
  g: () => (afterG = Date.now()),
  "?": () => document.getElementById("help")?.showModal(),
};

function pressed(event) {
  if (event.key === "Escape") all("details.drop[open]").forEach(close);
  if (event.target.closest("#seek")) walkFound(event);
  if (event.key === "k" && (event.ctrlKey || event.metaKey)) return event.preventDefault(), seek();
  const typing = event.target.closest("input, select, textarea, dialog, [contenteditable]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const going = Date.now() - afterG < 1500 && event.key !== "g";
  afterG = going ? 0 : afterG;
  const act = going ? () => visit(event.key) : shortcuts[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

function close(menu) {
  menu.open = false;
  menu.querySelector("summary").focus();
}
on("keydown", pressed);

// -- before htmx asks, and after it has put something in
on("htmx:before:request", ({ detail }) => askedAt.set(detail.ctx, counted));
on("htmx:after:swap", ({ detail }) => {
  for (const menu of all("details.drop[open]")) if (!menu.matches(":hover, :focus-within")) menu.open = false;
  count();
  consoles();
  catchUp(detail.ctx);
});

document.body.append(spoken);
root.classList.add("scripted");
// a narrow screen's menu goes on beyond its edge: where one is has to be in sight
document.querySelector(".menu [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
setInterval(tick, 1000);
setInterval(consoles, 2000);
setInterval(() => stream?.readyState !== EventSource.OPEN && !document.hidden && refresh(), 3000);
listen();
consoles();
