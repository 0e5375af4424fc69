// The demo shop's page: posts real events to /e/v1/events on its own origin, as a site would, and shows the gateway's stories.
"use strict";
const form = document.getElementById("visitor");
const answer = document.getElementById("answer");
const list = document.getElementById("list");
const client = `${Math.floor(Math.random() * 1e9)}.${Math.floor(Date.now() / 1000)}`;
let shown = 0;

function event(name) {
  const order = `A-${Date.now() % 100000}`;
  const data = {
    event: name, id: crypto.randomUUID(), time: new Date().toISOString(),
    page: { url: "https://shop.example/shoe?utm_source=demo&token=do-not-forward", title: document.title },
    visitor: { client_id: client },
    order: { value: 59, currency: "EUR", items: [{ id: "shoe-42", name: "Trail Shoe", price: 59, quantity: 1 }] },
  };
  if (name === "purchase") {
    data.id = data.order.id = order;
    data.user = { email: "ana@example.com", phone: "+49 30 901820" };
  }
  const purposes = {};
  for (const purpose of ["analytics", "advertising"]) {
    const choice = form.elements[purpose].value;
    if (choice) purposes[purpose] = choice;
  }
  data.consent = { purposes };
  if (form.elements.gpc.checked) data.consent.gpc = true;
  return data;
}

async function send(name) {
  const response = await fetch("/e/v1/events", {
    method: "POST", keepalive: true, body: JSON.stringify(event(name)),
    headers: { "content-type": "application/json", "x-demo-place": form.elements.place.value },
  });
  const body = await response.json();
  answer.textContent = response.ok
    ? `${response.status}: ${body.events[0].status}, on disk (${body.durability})`
    : `${response.status}: ${body.detail}`;
  await refresh();
}

async function refresh() {
  const response = await fetch(`/stories?after=${shown}`);
  for (const story of await response.json()) {
    shown = Math.max(shown, story.number);
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

document.querySelectorAll("[data-event]").forEach((button) =>
  button.addEventListener("click", () => send(button.dataset.event).catch((error) => { answer.textContent = String(error); })));
refresh();
setInterval(refresh, 2000);
