// Requests to the API with the credential of this tab, and the form that takes it.
// sessionStorage: another tab does not see it, and it is gone when this one closes.
const STORED = "sql-procedures-api.credential";
const JWT = /^[\w-]+\.[\w-]+\.[\w-]+$/;
const home = document.documentElement.dataset.home;

export const stored = () => sessionStorage.getItem(STORED);

// The header that carries credentials like this one, and what stands before them.
export const headerOf = (credential) => (JWT.test(credential) ? ["Authorization", "Bearer "] : ["X-API-Key", ""]);

// The header of this tab's credential: [name, value], or null.
export function credentialHeader() {
  const credential = stored();
  if (!credential) return null;
  const [name, before] = headerOf(credential);
  return [name, before + credential];
}

export function request(path, options = {}) {
  const headers = new Headers(options.headers);
  const credential = credentialHeader();
  if (credential) headers.set(...credential);
  return fetch(path, { ...options, headers });
}

// The JSON of a response. Throws an Error with the problem's sentence.
export async function json(path, options) {
  const response = await request(path, options);
  const body = await response.json();
  if (!response.ok) throw new Error(body.detail || body.title);
  return body;
}

// Shows the parts of the page (data-group) that the caller may use, and the form where one may not
// be used. Calls changed(groups) now, and again after a credential was given or forgotten.
export async function open(changed) {
  const form = document.getElementById("key");
  const text = form.querySelector("[role=status]");
  const required = text.textContent;
  const withoutKey = form.dataset.groups.split(" ").filter(Boolean);

  async function show() {
    let groups = withoutKey;
    let accepted = false;
    if (stored()) {
      groups = (await json(home, { headers: { Accept: "application/json" } })).groups;
      accepted = groups.length > 0;
    }
    for (const part of document.querySelectorAll("[data-group]")) {
      part.hidden = !groups.includes(part.dataset.group);
    }
    form.hidden = !form.dataset.methods || (groups.length === 3 && !stored());
    text.textContent = !stored() ? required
      : accepted ? `Your credential opens: ${groups.join(", ")}.`
      : "This credential was not accepted. Check it, or ask for another one.";
    text.classList.toggle("bad", Boolean(stored()) && !accepted);
    const forget = form.querySelector(".forget");
    if (forget) forget.hidden = !stored();
    changed(groups);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(STORED, form.credential.value.trim());
    form.credential.value = "";
    show();
  });
  form.querySelector(".forget")?.addEventListener("click", () => {
    sessionStorage.removeItem(STORED);
    show();
  });
  await show();
}

// An element: attributes, then children (elements or texts).
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}
