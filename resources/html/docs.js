// Swagger UI over the OpenAPI document, with the credential of this tab.
import { credentialHeader } from "./session.js";

const place = document.getElementById("docs");
const dark = matchMedia("(prefers-color-scheme: dark)");
const setScheme = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
setScheme();
dark.addEventListener("change", setScheme);

const within = (React, attributes, Component) => (props) =>
  React.createElement("section", attributes, React.createElement(Component, props));

// What Swagger UI lacks for a screen reader: landmarks, a heading above the groups, no link inside a
// button, and names of the choices.
const accessible = ({ React }) => ({
  wrapComponents: {
    InfoContainer: (Info) => within(React, { "aria-label": "About" }, Info),
    FilterContainer: (Filter) => within(React, { role: "search", "aria-label": "Operations" }, Filter),
    operations: (Operations) => (props) => React.createElement(React.Fragment, null,
      React.createElement("h2", { className: "unseen" }, "Operations"), React.createElement(Operations, props)),
    DeepLink: () => ({ text }) => React.createElement("span", null, text),
    // There is one server: the one of this page.
    ServersContainer: () => () => null,
  },
});

new MutationObserver(() => {
  for (const choice of place.querySelectorAll("tr[data-param-name] select:not([aria-label])")) {
    choice.setAttribute("aria-label", choice.closest("tr").dataset.paramName);
  }
}).observe(place, { childList: true, subtree: true });

SwaggerUIBundle({
  url: place.dataset.document,
  domNode: place,
  deepLinking: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  filter: true,
  plugins: [accessible],
  // The default validator is someone else's server.
  validatorUrl: null,
  requestInterceptor(request) {
    const credential = credentialHeader();
    if (credential) request.headers[credential[0]] ??= credential[1];
    return request;
  },
});
