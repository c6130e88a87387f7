"use strict";
// Texts come from models and strangers: they enter the page as text and values only, never as markup.
const review = JSON.parse(document.getElementById("review").textContent);
const byId = (id) => document.getElementById(id);
const MARKS = /<image>|<\/?p>|\[SEG/;
const HIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]/;
const LONGEST = 10000;
const NOTHING_KEPT = "This browser keeps nothing for this page: save the corrections as a file before you close it.";

const spots = [];
review.images.forEach((image, i) =>
  image.objects.forEach((object, o) =>
    object.texts.forEach((was, t) => spots.push({ image: i, object: o, text: t, was, verdict: "", words: was }))));
const nameOf = (spot) => [review.images[spot.image].key, spot.object, spot.text];
const known = new Map(spots.map((spot) => [JSON.stringify(nameOf(spot)), spot]));
const STORE = ["geopix-review", review.review, spots.length].join("/");
let shown = -1, current = 0, plain = false, close = false, unsaved = false;

const tidy = (text) => text.split(/\s+/).filter(Boolean).join(" ");

function trouble(words) {
  if (!tidy(words)) return "There is no text.";
  if (words.length > LONGEST) return "The text is too long.";
  if (MARKS.test(words)) return "The text holds a mark of the dialogue (such as [SEG]), which no description may.";
  if (HIDDEN.test(words)) return "The text holds characters that nobody sees: write it anew.";
  return "";
}

function asJson() {
  const corrections = spots.filter((spot) => spot.verdict).map((spot) => {
    const [key, object, text] = nameOf(spot);
    const words = spot.verdict === "rejected" ? "" : tidy(spot.words);
    return { key, object, text, was: spot.was, verdict: spot.verdict, words };
  });
  return { format: "geopix-review", version: 1, set_sha256: review.set_sha256, review: review.review,
           texts: review.texts, saved: new Date().toISOString(), corrections };
}

// A browser keeps some five megabytes a page: verdicts by the text's number, words only where they are new.
let waiting = 0;

function keep() {
  unsaved = true;
  waiting = waiting || setTimeout(flush, 200);
}

function flush() {
  clearTimeout(waiting);
  waiting = 0;
  const marks = {};
  spots.forEach((spot, index) => {
    if (spot.verdict || spot.words !== spot.was) {
      marks[index] = spot.words === spot.was ? [spot.verdict] : [spot.verdict, spot.words];
    }
  });
  try {
    localStorage.setItem(STORE, JSON.stringify({ current, marks }));
  } catch (error) {
    notice(NOTHING_KEPT);
  }
}

function recall() {
  const { current, marks } = JSON.parse(localStorage.getItem(STORE) || "{}");
  for (const [index, [verdict, words]] of Object.entries(marks || {})) {
    spots[index].verdict = verdict;
    spots[index].words = typeof words === "string" ? words : spots[index].was;
  }
  return Number.isInteger(current) && spots[current] ? current : 0;
}

function take(file) {
  if (!file || file.format !== "geopix-review" || file.review !== review.review || !Array.isArray(file.corrections)) {
    return "This file belongs to another review.";
  }
  let strange = 0;
  for (const one of file.corrections) {
    const spot = one && known.get(JSON.stringify([one.key, one.object, one.text]));
    if (!spot || !["accepted", "rewritten", "rejected"].includes(one.verdict) || typeof one.words !== "string") {
      strange += 1;
      continue;
    }
    spot.verdict = one.verdict;
    spot.words = one.verdict === "rejected" ? spot.was : one.words;
  }
  return strange ? strange + " corrections of the file were not understood." : "";
}

function notice(text) {
  byId("notice").textContent = text;
  byId("notice").hidden = !text;
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function card(spot, index) {
  const object = review.images[spot.image].objects[spot.object];
  const article = element("article");
  const heading = element("h3");
  const number = element("span", "number", String(spot.object + 1));
  number.style.background = object.colour;
  const state = element("span", "state");
  heading.append(number, element("span", "class", object.class), element("span", "what", object.arrangement), state);
  const area = element("textarea");
  area.rows = 1;
  area.value = spot.words;
  area.dir = "auto";
  area.placeholder = "No description yet: write one.";
  area.setAttribute("aria-label", "description of object " + (spot.object + 1));
  const was = element("p", "was");
  was.dir = "auto";
  const complaint = element("p", "trouble");
  const buttons = element("div", "buttons");
  for (const [label, key, action] of [
    ["Right", "a", () => accept(index)], ["Rewrite", "e", () => area.focus()],
    ["Wrong", "x", () => reject(index)], ["Undo", "u", () => undo(index)]]) {
    const button = element("button", "", label);
    button.title = key;
    button.type = "button";
    button.addEventListener("click", () => { choose(index); action(); });
    buttons.append(button);
  }
  area.addEventListener("focus", () => choose(index));
  area.addEventListener("input", () => {
    spot.words = area.value;
    spot.verdict = trouble(area.value) ? "" : tidy(area.value) === tidy(spot.was) ? "accepted" : "rewritten";
    paint(index);
    keep();
  });
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      area.blur();
      accept(index);
    } else if (event.key === "Escape") {
      area.blur();
    }
    event.stopPropagation();
  });
  article.addEventListener("click", () => choose(index));
  article.append(heading, area, was, complaint, buttons);
  return { article, area, state, was, complaint };
}

let cards = new Map();

function show(image) {
  shown = image;
  const data = review.images[image];
  const cardsHere = spots.map((spot, index) => [spot, index]).filter(([spot]) => spot.image === image);
  cards = new Map(cardsHere.map(([spot, index]) => [index, card(spot, index)]));
  byId("list").replaceChildren(...[...cards.values()].map((one) => one.article));
  byId("caption").textContent = data.key + ", " + data.size[0] + " \u00d7 " + data.size[1] + " px";
  byId("jump").value = image + 1;
  drawPicture();
  cards.forEach((one, index) => paint(index));
  const next = review.images[image + 1];
  if (next) new Image().src = next.overlay;
}

function drawPicture() {
  const data = review.images[shown];
  byId("picture").src = plain ? data.image : data.overlay;
  byId("picture").alt = "image " + (shown + 1) + (plain ? "" : " with numbered objects");
  fit();
}

function fit() {
  const [width, height] = review.images[shown].size;
  const stage = byId("stage").getBoundingClientRect();
  const room = Math.max(120, (stage.height || 600) - 80);
  const factor = Math.min((stage.width - 32) / width, room / height);
  const frame = byId("frame");
  frame.style.width = width * factor + "px";
  frame.style.height = height * factor + "px";
  const spot = spots[current];
  const [x, y, w, h] = review.images[shown].objects[spot.object].box;
  const mark = byId("mark");
  mark.hidden = plain;
  mark.style.left = x + "%";
  mark.style.top = y + "%";
  mark.style.width = w + "%";
  mark.style.height = h + "%";
  const zoom = close ? Math.max(1.5, Math.min(8, 40 / Math.max(w, h, 1))) : 1;
  const cx = Math.min(Math.max(x + w / 2, 50 / zoom), 100 - 50 / zoom);
  const cy = Math.min(Math.max(y + h / 2, 50 / zoom), 100 - 50 / zoom);
  for (const one of [byId("picture"), mark]) one.style.transform = "";
  const picture = byId("picture");
  picture.style.transformOrigin = "0 0";
  picture.style.transform = close ? `scale(${zoom}) translate(${50 / zoom - cx}%, ${50 / zoom - cy}%)` : "";
  if (close) {
    mark.style.left = (x - cx) * zoom + 50 + "%";
    mark.style.top = (y - cy) * zoom + 50 + "%";
    mark.style.width = w * zoom + "%";
    mark.style.height = h * zoom + "%";
  }
}

function paint(index) {
  const spot = spots[index], one = cards.get(index);
  if (one) {
    one.article.className = spot.verdict + (index === current ? " current" : "");
    one.state.textContent = { accepted: "right", rewritten: "rewritten", rejected: "wrong" }[spot.verdict] || "not looked at";
    if (one.area.value !== spot.words) one.area.value = spot.words;
    const changed = tidy(spot.words) !== tidy(spot.was) && spot.was;
    one.was.textContent = changed ? "was: " + spot.was : "";
    const telling = spot.verdict !== "rejected" && (spot.was || spot.words);  // a text not yet written is no trouble
    one.complaint.textContent = telling ? trouble(spot.words) : "";
  }
  const done = spots.filter((other) => other.verdict).length;
  byId("progress").textContent = done + " of " + spots.length + " texts";
  byId("bar").value = spots.length ? done / spots.length : 1;
}

function choose(index) {
  if (index < 0 || index >= spots.length) return;
  const before = current;
  current = index;
  if (spots[index].image !== shown) show(spots[index].image);
  paint(before);
  paint(index);
  fit();
  const one = cards.get(index);
  if (one) one.article.scrollIntoView({ block: "nearest" });
}

function accept(index) {
  const spot = spots[index];
  if (trouble(spot.words)) {
    const one = cards.get(index);
    if (one) one.complaint.textContent = trouble(spot.words);
    return;
  }
  spot.verdict = tidy(spot.words) === tidy(spot.was) ? "accepted" : "rewritten";
  keep();
  paint(index);
  choose(index + 1);
}

function reject(index) {
  const spot = spots[index];
  spot.verdict = spot.was ? "rejected" : "";
  spot.words = spot.was;
  keep();
  paint(index);
  choose(index + 1);
}

function undo(index) {
  const spot = spots[index];
  spot.verdict = "";
  spot.words = spot.was;
  keep();
  paint(index);
}

function save() {
  const made = asJson();
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(made, null, 1)], { type: "application/json" }));
  link.download = "corrections-" + review.review + ".json";
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  unsaved = false;
  notice(made.corrections.length + " corrections are in " + link.download + ", in the folder of your downloads.");
}

function jumpTo(image) {
  const index = spots.findIndex((spot) => spot.image === image);
  if (index >= 0) choose(index);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open) return;
  if (/^(INPUT|TEXTAREA)$/.test(event.target.tagName)) return;
  if (event.target.tagName === "BUTTON" && (event.key === "Enter" || event.key === " ")) return;
  const here = spots[current] ? spots[current].image : 0;
  const actions = {
    a: () => accept(current), Enter: () => accept(current), x: () => reject(current), u: () => undo(current),
    e: () => { const one = cards.get(current); if (one) { one.area.focus(); one.area.select(); } },
    j: () => choose(current + 1), ArrowDown: () => choose(current + 1),
    k: () => choose(current - 1), ArrowUp: () => choose(current - 1),
    n: () => jumpTo(here + 1), ArrowRight: () => jumpTo(here + 1),
    p: () => jumpTo(here - 1), ArrowLeft: () => jumpTo(here - 1),
    f: () => choose(spots.findIndex((spot) => !spot.verdict)),
    o: () => { plain = !plain; drawPicture(); }, z: () => { close = !close; fit(); },
    s: save, "?": () => byId("keys").showModal(),
  };
  if (actions[event.key] && spots.length) {
    event.preventDefault();
    actions[event.key]();
  }
});
byId("save").addEventListener("click", save);
byId("help").addEventListener("click", () => byId("keys").showModal());
byId("open").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  event.target.value = "";
  if (!file) return;
  try {
    const said = take(JSON.parse(await file.text()));
    notice(said || "Going on from " + file.name + ".");
  } catch (error) {
    notice("This file is no JSON.");
  }
  keep();
  cards.forEach((one, index) => paint(index));
});
byId("jump").addEventListener("change", (event) => jumpTo(Number(event.target.value) - 1));
window.addEventListener("resize", () => { if (shown >= 0) fit(); });
window.addEventListener("pagehide", () => { if (unsaved) flush(); });
byId("picture").addEventListener("error", () => notice("The image is not there: keep this page beside its folders images and overlays."));

byId("count").textContent = review.images.length;
byId("jump").max = review.images.length;
let start = 0;
try {
  start = recall();
} catch (error) {
  notice(NOTHING_KEPT);
}
if (spots.length) choose(start); else notice("There is no text to look at.");
