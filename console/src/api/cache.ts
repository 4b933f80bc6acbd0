/** What the cache knows of the schema beyond its types: what has no id, and what a change does before it is answered. */
import type { CacheExchangeOpts } from "@urql/exchange-graphcache";
import schema from "@/graphql/schema.json";

const partOfItsOwner = (): null => null;

export const cacheConfig: CacheExchangeOpts = {
  schema: schema as unknown as NonNullable<CacheExchangeOpts["schema"]>,
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
};
