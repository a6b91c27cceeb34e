// A request as a line of curl, or as a Python program with requests. A credential is named, never
// written: a copied line ends up in chats and files. call.credential: the credential's header and what
// stands before it, or null.

const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

export function curl({ method, url, query, headers, body, credential }) {
  const search = new URLSearchParams(query).toString();
  const words = ["curl", ...(method === "GET" ? [] : ["-X", method]), quoted(url + (search && `?${search}`))];
  let text = words.join(" ");
  for (const [name, value] of headers) text += ` \\\n  -H ${quoted(`${name}: ${value}`)}`;
  if (credential) {
    const [name, before] = credential;
    text += ` \\\n  -H "${name}: ${before}$API_CREDENTIAL"`;
  }
  if (body !== undefined) text += ` \\\n  --data-binary ${quoted(body)}`;
  return text;
}

// A JSON string is a Python string too.
const literal = (text) => JSON.stringify(text);

export function python({ method, url, query, headers, body, credential }) {
  const lines = [...(credential ? ["import os", ""] : []), "import requests", "", "response = requests.request(",
    `    ${literal(method)},`, `    ${literal(url)},`];
  if (query.length) {
    lines.push("    params=[", ...query.map(([name, value]) => `        (${literal(name)}, ${literal(value)}),`), "    ],");
  }
  const sent = headers.map(([name, value]) => `        ${literal(name)}: ${literal(value)},`);
  if (credential) {
    const [name, before] = credential;
    sent.push(`        ${literal(name)}: ${before ? `${literal(before)} + ` : ""}os.environ["API_CREDENTIAL"],`);
  }
  if (sent.length) lines.push("    headers={", ...sent, "    },");
  if (body !== undefined) lines.push(`    data=${literal(body)}.encode(),`);
  lines.push(")", "response.raise_for_status()", "print(response.text)");
  return lines.join("\n");
}
