// The tiles as GraphQL servers of Node give them, of Tessera's own tables, without asking whether anybody may see them:
// node server.js mercurius|apollo PORT. Where the database is, PGHOST and its like say.
const { Pool } = require("pg");

const pool = new Pool({ max: 10, min: 10 });

const typeDefs = `
scalar DateTime
enum Permission { PROJECT_VIEW }
type Query { project(id: ID!): Project }
type Project { id: ID! name: String! templates: [KeyTemplate!]! }
type KeyTemplate {
  id: ID! name: String! description: String! pricePerRequest: Money! role: Role!
  fields: [TemplateField!]! requests: KeyRequests! issuedKeys: IssuedKeys!
}
type Money { amount: String! }
type Role { id: ID! name: String! permissions: [Permission!]! }
type TemplateField { id: ID! name: String! description: String! value: String! }
type KeyRequests { nodes: [KeyRequest!]! }
type IssuedKeys { nodes: [IssuedKey!]! }
type KeyRequest { id: ID! requestedAt: DateTime! user: User! }
type IssuedKey { id: ID! receivedAt: DateTime! user: User! }
type User { id: ID! name: String! }`;

const each = (batch) => ({ batch, arrange: (ids, rows) => {
  const byId = new Map(rows.map((row) => [row.id, row]));
  return ids.map((id) => byId.get(id) ?? null);
} });
const grouped = (batch, column, made) => ({ batch, arrange: (ids, rows) => {
  const byId = new Map(ids.map((id) => [id, []]));
  for (const row of rows) byId.get(row[column]).push(row);
  return ids.map((id) => made(byId.get(id)));
} });
const nodes = (rows) => ({ nodes: rows });

// One prepared statement for each relation, which takes all the ids of a level.
const relations = {
  project: each("select id, name from projects where id = any($1) and deleted_at is null"),
  templates: grouped(
    `select id, name, description, price_per_request, role_id, project_id
     from templates where project_id = any($1) and deleted_at is null order by position, id`,
    "project_id", (rows) => rows,
  ),
  role: each(
    `select r.id, r.name, array_agg(upper(g.permission)) as permissions
     from roles r join grants g on g.role_id = r.id where r.id = any($1) group by r.id`,
  ),
  fields: grouped(
    `select id, name, description, value, template_id
     from template_fields where template_id = any($1) and deleted_at is null order by position, id`,
    "template_id", (rows) => rows,
  ),
  requests: grouped(
    `select id, requested_at as "requestedAt", user_id, template_id
     from key_requests where template_id = any($1) and state = 'pending' order by id desc`,
    "template_id", nodes,
  ),
  issuedKeys: grouped(
    `select id, received_at as "receivedAt", user_id, template_id
     from issued_keys where template_id = any($1) order by id desc`,
    "template_id", nodes,
  ),
  user: each("select id, name from users where id = any($1)"),
};

async function load(name, ids) {
  const distinct = [...new Set(ids)];
  const { batch, arrange } = relations[name];
  const { rows } = await pool.query({ name, text: batch, values: [distinct] });
  const found = new Map(arrange(distinct, rows).map((value, place) => [distinct[place], value]));
  return ids.map((id) => found.get(id));
}

const scalars = (graphql) => ({
  DateTime: new graphql.GraphQLScalarType({ name: "DateTime", serialize: (instant) => instant.toISOString() }),
  Money: { amount: (price) => String(Number(price)) },
});

// Which relation a field is, and by which member of its parent it is found.
const fields = {
  Project: { templates: "id" },
  KeyTemplate: { role: "role_id", fields: "id", requests: "id", issuedKeys: "id" },
  KeyRequest: { user: "user_id" },
  IssuedKey: { user: "user_id" },
};

async function mercurius(app) {
  const loaders = {};
  for (const [type, members] of Object.entries(fields)) {
    loaders[type] = {};
    for (const [name, key] of Object.entries(members)) {
      const loader = (asked) => load(name, asked.map(({ obj }) => obj[key]));
      loaders[type][name] = { loader, opts: { cache: false } };
    }
  }
  const resolvers = {
    ...scalars(require("graphql")),
    Query: { project: async (_, { id }) => (await load("project", [id]))[0] },
    KeyTemplate: { pricePerRequest: (template) => template.price_per_request },
  };
  app.register(require("mercurius"), { schema: typeDefs, resolvers, loaders, jit: 1, graphiql: false });
}

async function apollo(app) {
  const DataLoader = require("dataloader");
  const { ApolloServer } = require("@apollo/server");
  const { default: fastifyApollo, fastifyApolloDrainPlugin } = require("@as-integrations/fastify");
  const resolvers = {
    ...scalars(require("graphql")),
    Query: { project: (_, { id }, { loaders }) => loaders.project.load(id) },
  };
  for (const [type, members] of Object.entries(fields)) {
    resolvers[type] = {};
    for (const [name, key] of Object.entries(members)) {
      resolvers[type][name] = (parent, _, { loaders }) => loaders[name].load(parent[key]);
    }
  }
  resolvers.KeyTemplate.pricePerRequest = (template) => template.price_per_request;
  const server = new ApolloServer({
    typeDefs, resolvers, introspection: false, plugins: [fastifyApolloDrainPlugin(app)],
  });
  await server.start();
  const newLoaders = () =>
    Object.fromEntries(Object.keys(relations).map((name) => [name, new DataLoader((ids) => load(name, ids))]));
  await app.register(fastifyApollo(server), { context: async () => ({ loaders: newLoaders() }) });
}

async function main([, , kind, port]) {
  const app = require("fastify")();
  await { mercurius, apollo }[kind](app);
  await app.listen({ port: Number(port), host: "127.0.0.1" });
}

main(process.argv);
