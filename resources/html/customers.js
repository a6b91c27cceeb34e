// The table of customers: search by name, and pages by the links of the responses.
import { element, request } from "./session.js";

const FIELDS = "CustomerID,CustomerName,PhoneNumber,Delivery";
const ROWS = 8;
const TYPING_MS = 200;
const NEXT = /<([^>]*)>;\s*rel="next"/;

export function showCustomers(section) {
  const path = new URL(section.dataset.source, location).pathname;
  const search = section.querySelector("input");
  const status = section.querySelector("[role=status]");
  const [previous, next] = section.querySelectorAll(".pages button");
  // The query of each page up to the one that is shown, and of the one after it.
  let pages = [];
  let following = null;
  let running = new AbortController();
  let timer = 0;

  async function show() {
    running.abort();
    running = new AbortController();
    try {
      const response = await request(path + pages.at(-1), { signal: running.signal });
      const body = await response.json();
      if (!response.ok) throw new Error(body.detail || body.title);
      // Only the query: behind a proxy the link's host may be another one.
      const link = NEXT.exec(response.headers.get("Link") ?? "");
      following = link && new URL(link[1]).search;
      section.querySelector("tbody").replaceChildren(...body.map(row));
      status.textContent = body.length ? `Page ${pages.length}` : "No customer has this name.";
    } catch (error) {
      if (error.name === "AbortError") return;
      following = null;
      status.textContent = error.message;
    }
    previous.disabled = pages.length < 2;
    next.disabled = !following;
  }

  function begin() {
    const query = new URLSearchParams({ limit: ROWS, fields: FIELDS });
    if (search.value) query.set("name", search.value);
    pages = [`?${query}`];
    show();
  }

  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(begin, TYPING_MS);
  });
  search.form.addEventListener("submit", (event) => event.preventDefault());
  next.addEventListener("click", () => {
    pages.push(following);
    show();
  });
  previous.addEventListener("click", () => {
    pages.pop();
    show();
  });
  begin();
}

function row(customer) {
  return element("tr", {},
    element("td", { class: "number" }, String(customer.CustomerID)),
    element("td", {}, customer.CustomerName),
    element("td", { class: "line" }, customer.PhoneNumber ?? ""),
    element("td", { class: "wide-only" }, customer.Delivery?.PostalCode ?? ""));
}
