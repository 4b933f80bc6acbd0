// Writes src/graphql/operations.ts: the types of the schema and each operation of graphql/operations/ as a typed document.
import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { codegen } from "@graphql-codegen/core";
import * as typedDocumentNode from "@graphql-codegen/typed-document-node";
import * as typescriptOperations from "@graphql-codegen/typescript-operations";
import { buildSchema, introspectionFromSchema, parse } from "graphql";
import { minifyIntrospectionQuery } from "@urql/introspection";

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
await write("schema.json", JSON.stringify(minifyIntrospectionQuery(introspectionFromSchema(buildSchema(schema)))));

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
