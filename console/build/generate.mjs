// Writes src/graphql/operations.ts: each operation of graphql/operations/ as a typed document.
// The cache isn't given the schema itself: with it, it would show pages in part.
import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { codegen } from "@graphql-codegen/core";
import * as typedDocumentNode from "@graphql-codegen/typed-document-node";
import * as typescriptOperations from "@graphql-codegen/typescript-operations";
import { buildSchema, isAbstractType, parse } from "graphql";

const contract = new URL("../../graphql/", import.meta.url);
const target = new URL("../src/graphql/", import.meta.url);

const schema = await readFile(new URL("schema.graphql", contract), "utf8");
const config = {
  scalars: { ID: "string", BigInt: "string", DateTime: "string", Decimal: "string", EventCursor: "string" },
  enumType: "string-literal",
  useTypeImports: true,
  skipTypename: true,
  avoidOptionals: { field: true },
};
const operations = await codegen({
  schema: parse(schema),
  documents: await documents(new URL("operations/", contract)),
  config,
  filename: "operations.ts",
  plugins: [{ operations: config }, { documents: config }],
  pluginMap: { operations: typescriptOperations, documents: typedDocumentNode },
});
await mkdir(target, { recursive: true });
await write("operations.ts", operations);
await write("possible-types.json", JSON.stringify(possibleTypes(buildSchema(schema))));

/** Which types an interface or a union may be, for the cache. */
function possibleTypes(of) {
  const abstract = Object.values(of.getTypeMap()).filter(isAbstractType);
  return Object.fromEntries(abstract.map((type) => [type.name, of.getPossibleTypes(type).map(({ name }) => name)]));
}

async function documents(folder) {
  const paths = (await readdir(folder, { recursive: true })).filter((path) => path.endsWith(".graphql")).sort();
  return Promise.all(
    paths.map(async (path) => ({
      location: path,
      document: parse(await readFile(new URL(path, folder), "utf8"), { noLocation: true }),
    })),
  );
}

async function write(name, text) {
  const file = new URL(name, target);
  const present = await readFile(file, "utf8").catch(() => null);
  if (present !== text) await writeFile(file, text);
}
