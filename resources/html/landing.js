"use strict";
// Shows the databases' states while the page is visible. The page itself is sent without them.
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

refresh();
setInterval(() => document.hidden || refresh(), 5000);
