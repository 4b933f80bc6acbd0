/** What the cache knows of the schema beyond its types: what has no id, and what a change does before it is answered. */
import type { Cache, CacheExchangeOpts, Link, OptimisticMutationResolver, UpdateResolver } from "@urql/exchange-graphcache";
import possibleTypes from "@/graphql/possible-types.json";
import type {
  KeyRequestCreateInput,
  ProjectSetRouteRulesInput,
  TemplateDeleteInput,
  TemplateUpdateInput,
} from "@/graphql/operations";

/** How the id of an object begins that the gateway has yet to make. */
export const PROVISIONAL = "asked-";

const partOfItsOwner = (): null => null;

export const cacheConfig: CacheExchangeOpts = {
  possibleTypes,
  keys: {
    Allowance: partOfItsOwner,
    KeyLimits: partOfItsOwner,
    Money: partOfItsOwner,
    NodePermissions: partOfItsOwner,
    PageInfo: partOfItsOwner,
    RouteRule: partOfItsOwner,
    TemplateUsage: partOfItsOwner,
    Usage: partOfItsOwner,
    UsagePoint: partOfItsOwner,
    UsageReport: partOfItsOwner,
    UserUsage: partOfItsOwner,
    Viewer: partOfItsOwner,
    AuditEntryConnection: partOfItsOwner,
    IssuedKeyConnection: partOfItsOwner,
    KeyRequestConnection: partOfItsOwner,
    MemberConnection: partOfItsOwner,
    ProjectConnection: partOfItsOwner,
    ProjectNodeConnection: partOfItsOwner,
    KeyRequestEvent: partOfItsOwner,
    ProjectEvent: partOfItsOwner,
    ViewerKeyEvent: partOfItsOwner,
  },
  // A refusal takes these away again: the gateway's answer replaces them, whatever it is.
  optimistic: {
    keyRequestCreate: resolved(asked),
    projectSetRouteRules: resolved(ruled),
    templateUpdate: resolved(updated),
    templateDelete: resolved(deleted),
  },
  updates: {
    Mutation: {
      templateUpdate: moveTemplate as unknown as UpdateResolver,
      templateDelete: takeTemplateAway as unknown as UpdateResolver,
    },
  },
};

interface Input<Of> {
  input: Of;
}

/** The types of arguments are the schema's, which Graphcache can't know. */
function resolved<Args>(resolve: (args: Args, cache: Cache) => unknown): OptimisticMutationResolver {
  return resolve as unknown as OptimisticMutationResolver;
}

function asked({ input }: Input<KeyRequestCreateInput>) {
  const id = `${PROVISIONAL}${input.templateId}`;
  const state = { state: "PENDING", note: input.note ?? "", requestedAt: new Date().toISOString() };
  const request = { __typename: "KeyRequest", id, ...state, decidedAt: null, reason: null, issuedKey: null };
  const template = { __typename: "KeyTemplate", id: input.templateId, viewerState: "REQUESTED", viewerKey: null };
  return {
    __typename: "KeyRequestPayload",
    userErrors: [],
    request: { ...request, template: { ...template, viewerRequest: { __typename: "KeyRequest", id } } },
  };
}

/** Texts stand in their inputs until they are saved; what is chosen or moved shows here at once. */
function updated({ input }: Input<TemplateUpdateInput>) {
  const role = input.roleId == null ? {} : { role: { __typename: "Role", id: input.roleId } };
  const template = { __typename: "KeyTemplate", id: input.templateId, ...role };
  return { __typename: "TemplatePayload", userErrors: [], template };
}

function ruled({ input }: Input<ProjectSetRouteRulesInput>) {
  const routeRules = input.rules.map((rule) => ({ __typename: "RouteRule", ...rule }));
  return { __typename: "ProjectPayload", userErrors: [], project: { __typename: "Project", id: input.projectId, routeRules } };
}

function deleted({ input }: Input<TemplateDeleteInput>) {
  return { __typename: "DeletePayload", userErrors: [], deletedId: input.templateId };
}

function moveTemplate(
  result: { templateUpdate: { template: { id: string } | null } },
  { input }: Input<TemplateUpdateInput>,
  cache: Cache,
): void {
  const { position } = input;
  if (position == null || !result.templateUpdate.template) return;
  changeTemplates(cache, input.templateId, (others, moved) => others.toSpliced(position, 0, moved));
}

function takeTemplateAway(
  result: { templateDelete: { deletedId: string | null } },
  { input }: Input<TemplateDeleteInput>,
  cache: Cache,
): void {
  if (result.templateDelete.deletedId) changeTemplates(cache, input.templateId, (others) => others);
}

/** Of the project that the template is in, of those that were read. */
function changeTemplates(
  cache: Cache,
  templateId: string,
  change: (others: string[], template: string) => string[],
): void {
  const template = cache.keyOfEntity({ __typename: "KeyTemplate", id: templateId });
  for (const { fieldKey } of cache.inspectFields("Query").filter((field) => field.fieldName === "project")) {
    const project = cache.resolve("Query", fieldKey) as string | null;
    const templates = (project && (cache.resolve(project, "templates") as string[] | undefined)) || [];
    if (project && template && templates.includes(template)) {
      const others = templates.filter((each) => each !== template);
      cache.link(project, "templates", change(others, template) as Link<string>);
    }
  }
}
