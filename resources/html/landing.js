"use strict";
// Keeps the databases' states on the page current; without scripts they are those of its loading.
const health = document.getElementById("health");

function show(report) {
  for (const [name, database] of Object.entries(report.databases)) {
    const row = health.querySelector(`[data-database="${name}"]`);
    row.dataset.state = database.state;
    row.querySelector(".state").textContent = database.state;
    row.querySelector(".latency").textContent =
      database.latency_ms === null ? "" : `${database.latency_ms} ms`;
  }
}

async function refresh() {
  try {
    const response = await fetch(health.dataset.source);
    show(await response.json());
    health.classList.remove("stale");
  } catch {
    health.classList.add("stale");
  }
}

setInterval(() => document.hidden || refresh(), 5000);
