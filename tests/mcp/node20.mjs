// The conformance suite imports fs.globSync, which Node.js has from 22 on, for a command that no
// test uses. This adds it to the older fs of the systems that CI runs on.
import { register } from "node:module";

const inline = (text) => `data:text/javascript,${encodeURIComponent(text)}`;
const fs = inline(
  `export * from "node:fs"; export { default } from "node:fs"; export const globSync = undefined;`,
);
register(
  inline(`export async function resolve(name, context, next) {
    if (name !== "fs") return next(name, context);
    return { url: ${JSON.stringify(fs)}, format: "module", shortCircuit: true };
  }`),
);
