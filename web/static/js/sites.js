// The overlay's pages: what moves is fetched again, and pointing at a line or a site tells its figures.

const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const on = (name, act) => document.addEventListener(name, act);

// -- live: every part with data-live is fetched from its address again, at most once a second however much happens
const PAUSE = 1000;
const POLL = 15000; // measurements are told once a minute and make no event
let due = 0;
let last = 0;
let looking = false;
let again = false; // something happened while we looked: what came may be older than that

function soon() {
  if (document.hidden) return;
  if (looking) again = true;
  else due ||= setTimeout(look, Math.max(150, last + PAUSE - Date.now()));
}

async function look() {
  [due, looking, again] = [0, true, false];
  const parts = Map.groupBy ? Map.groupBy(all("[data-live]"), (part) => part.dataset.live) : grouped();
  for (const [address, places] of parts) await fetchParts(address, places).catch(() => undefined);
  [last, looking] = [Date.now(), false];
  if (again) soon();
}

function grouped() {
  const found = new Map();
  for (const part of all("[data-live]")) found.set(part.dataset.live, [...(found.get(part.dataset.live) ?? []), part]);
  return found;
}

function fetchParts(address, places) {
  const [first, ...rest] = places.map((place) => `#${place.id}`);
  const here = location.pathname === new URL(address, location.href).pathname && location.search ? location.search : "";
  const oob = rest.map((id) => `${id}:outerMorph`).join(",");
  return htmx.ajax("GET", address.includes("?") ? address : address + here, { target: first, select: first, selectOOB: oob, swap: "outerMorph" });
}

on("garage:site", soon);
setInterval(soon, POLL);

// -- figures: a small box beside what is pointed at
const tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
tip.setAttribute("role", "status");
document.body.append(tip);
let shown;

function show(place, x, y) {
  const title = Object.assign(document.createElement("b"), { textContent: place.dataset.title });
  tip.replaceChildren(title, place.dataset.tip);
  tip.hidden = false;
  put(x, y);
  light(place);
  shown = place;
}

function put(x, y) {
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(x - width / 2, innerWidth - width - 8))}px`;
  tip.style.top = `${y - height - 18 > 8 ? y - height - 18 : y + 22}px`;
}

function hide() {
  tip.hidden = true;
  shown = undefined;
  for (const map of all(".map-lit")) map.classList.remove("map-lit");
}

// the links of a site, or the one link, stand out
function light(place) {
  const map = place.closest(".map-picture");
  if (!map) return;
  for (const tie of all(".lit", map)) tie.classList.remove("lit");
  const { site, a, b } = place.dataset;
  const meant = (tie) => (site ? tie.a === site || tie.b === site : tie.a === a && tie.b === b);
  const lit = all("[data-a]", map).filter((tie) => meant(tie.dataset));
  for (const tie of lit) tie.classList.add("lit");
  map.classList.toggle("map-lit", lit.length > 0);
}

const tipped = (event) => event.target.closest?.("[data-tip]");

on("pointermove", (event) => {
  if (event.pointerType === "touch") return;
  const place = tipped(event);
  if (place) show(place, event.clientX, event.clientY);
  else if (shown && !shown.contains(document.activeElement)) hide();
});

on("focusin", (event) => {
  const place = tipped(event);
  if (!place?.matches(":focus-visible")) return;
  const box = place.getBoundingClientRect();
  show(place, box.x + box.width / 2, box.y + box.height / 2);
});
on("focusout", hide);
on("scroll", hide);
on("keydown", (event) => event.key === "Escape" && hide());

// a finger cannot hover: the first tap tells the figures, the second on the same thing opens its page
let finger = false;
on("pointerdown", (event) => (finger = event.pointerType === "touch"));
document.addEventListener(
  "click",
  (event) => {
    const place = tipped(event);
    if (!place || !finger) return place || hide();
    if (shown === place) return hide();
    event.preventDefault();
    show(place, event.clientX, event.clientY);
  },
  true,
);

// -- charts: the minute under the pointer
function minute(chart, event) {
  const plot = chart.querySelector(".plot").getBoundingClientRect();
  const values = JSON.parse(chart.dataset.chart);
  const index = Math.round(((event.clientX - plot.left) / plot.width) * (values.length - 1));
  if (!values[index]) return hide();
  const at = new Date((Number(chart.dataset.start) + index * 60) * 1000);
  const [rtt, lost] = values[index];
  const title = Object.assign(document.createElement("b"), { textContent: at.toLocaleTimeString(document.documentElement.lang, { hour: "2-digit", minute: "2-digit" }) });
  tip.replaceChildren(title, rtt === null ? "—" : `${rtt} ms`, lost ? `, ${lost} %` : "");
  tip.hidden = false;
  put(event.clientX, plot.top + 30);
}

on("pointermove", (event) => {
  const chart = event.target.closest?.("[data-chart]");
  if (chart) minute(chart, event);
});
