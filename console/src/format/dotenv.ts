/** Secrets as a `.env` file, which shells and the usual libraries read alike. */

/** Names hold Latin letters, digits and underscores; values may hold anything. */
export function dotenv(secrets: { name: string; value: string }[]): string {
  return secrets.map(({ name, value }) => `${name}=${quoted(value)}\n`).join("");
}

/** In single quotes nothing is expanded; where the value has one itself or a line's end, in double ones, escaped. */
function quoted(value: string): string {
  if (/^[\w.:/+@%-]*$/.test(value)) return value;
  if (!/['\r\n]/.test(value)) return `'${value}'`;
  const escaped = value.replace(/[\\"$`]/g, "\\$&").replaceAll("\n", "\\n").replaceAll("\r", "\\r");
  return `"${escaped}"`;
}

/** The part of a secret's name that an information field's name makes, as the gateway makes it. */
export function partOfName(fieldName: string): string {
  return fieldName.replace(/[^A-Za-z0-9_]+/g, "_");
}
