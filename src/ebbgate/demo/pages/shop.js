// The demo shop's page: records events with the gateway's own tag, as a site would, and shows the gateway's stories.
// The tag is told not to wait for an answer and to send refusals too, so that the gateway's decisions can be watched.
"use strict";
window.ebb = window.ebb || function () { (ebb.q = ebb.q || []).push(arguments); };
const form = document.getElementById("visitor");
const answer = document.getElementById("answer");
const list = document.getElementById("list");
let shown = 0;

function record(name) {
  const data = {
    page: { url: "https://shop.example/shoe?utm_source=demo&token=do-not-forward", title: document.title },
    order: { value: 59, currency: "EUR", items: [{ id: "shoe-42", name: "Trail Shoe", price: 59, quantity: 1 }] },
  };
  if (name === "purchase") {
    data.order.id = `A-${Date.now() % 100000}`;
    data.user = { email: "ana@example.com", phone: "+49 30 901820" };
  }
  ebb("event", name, data, () => { answer.textContent = `${name} is on its way to the gateway`; });
  setTimeout(refresh, 300);
}

function choose() {
  document.cookie = `demo_place=${form.elements.place.value}; path=/; SameSite=Lax`;
  const purposes = {};
  for (const purpose of ["analytics", "advertising"]) {
    const choice = form.elements[purpose].value;
    if (choice) purposes[purpose] = choice;
  }
  const consent = { purposes };
  if (form.elements.gpc.checked) consent.gpc = true;
  ebb("consent", consent);
}

async function refresh() {
  const response = await fetch(`/stories?after=${shown}`);
  for (const story of await response.json()) {
    if (story.number <= shown) continue; // another call was faster
    shown = story.number;
    const box = document.createElement("article");
    box.className = "story";
    const title = document.createElement("h2");
    title.textContent = story.title;
    const text = document.createElement("pre");
    for (const line of story.lines) {
      const span = document.createElement("span");
      span.textContent = line + "\n";
      if (/\bNOT SENT\b/.test(line)) span.className = "kept";
      else if (/\b(SENT|LIMITED)\b/.test(line)) span.className = "sent";
      text.append(span);
    }
    box.append(title, text);
    list.prepend(box);
  }
}

document.querySelectorAll("[data-event]").forEach((button) => button.addEventListener("click", () => record(button.dataset.event)));
form.addEventListener("change", choose);
choose();
refresh();
setInterval(refresh, 2000);
