/** A project's templates and the requests on them, as its managers see and change them. */
import { computed } from "vue";
import { act, type Outcome } from "@/api/acting";
import { inOrder } from "@/api/versions";
import {
  KeyPanelDocument,
  KeyRequestApproveDocument,
  KeyRequestRejectDocument,
  ProjectChangesDocument,
  TemplateCreateDocument,
  TemplateDeleteDocument,
  TemplateFieldAddDocument,
  TemplateFieldDeleteDocument,
  TemplateFieldUpdateDocument,
  TemplateUpdateDocument,
  type KeyPanelQuery,
  type TemplateCreateInput,
  type TemplateFieldInput,
  type TemplateFieldUpdateInput,
  type TemplateUpdateInput,
} from "@/graphql/operations";
import { useLivePages } from "./useLivePages";

type Panel = NonNullable<KeyPanelQuery["project"]>;
export type Template = Panel["templates"][number];
export type Field = Template["fields"][number];
export type Role = Panel["roles"][number];
export type KeyRequest = NonNullable<Panel["requests"]>["nodes"][number];

const REQUESTS_SHOWN = 50;

export function useTemplates(projectId: string) {
  const { data, rows, ...rest } = useLivePages(
    KeyPanelDocument,
    { projectId, first: REQUESTS_SHOWN },
    { of: ProjectChangesDocument, on: { projectId } },
    ({ project }) => project?.requests,
  );
  const panel = computed(() => data.value?.project ?? null);
  return {
    templates: computed(() => panel.value?.templates ?? []),
    roles: computed(() => panel.value?.roles ?? []),
    currency: computed(() => panel.value?.currency ?? ""),
    requests: rows,
    requestCount: computed(() => panel.value?.requests?.totalCount ?? 0),
    ...rest,
  };
}

export function create(input: TemplateCreateInput) {
  return act(TemplateCreateDocument, { input });
}

type Changes = Omit<TemplateUpdateInput, "templateId" | "expectedVersion">;

/** Refused where somebody else changed the template since `version`. */
export function update(template: Template, changes: Changes, version = template.version) {
  return changed(template.id, version, (expectedVersion) =>
    act(TemplateUpdateDocument, { input: { templateId: template.id, expectedVersion, ...changes } }),
  );
}

export function remove(template: Template) {
  return act(TemplateDeleteDocument, { input: { templateId: template.id } });
}

export function addField(template: Template, field: TemplateFieldInput) {
  return changed(template.id, template.version, () =>
    act(TemplateFieldAddDocument, { input: { templateId: template.id, field } }),
  );
}

type FieldChanges = Omit<TemplateFieldUpdateInput, "fieldId" | "expectedVersion">;

/** Refused where somebody else changed the field since `version`. */
export function updateField(template: Template, field: Field, changes: FieldChanges, version = field.version) {
  return changed(template.id, template.version, () =>
    inOrder(
      field.id,
      version,
      (expectedVersion) =>
        act(TemplateFieldUpdateDocument, { input: { fieldId: field.id, expectedVersion, ...changes } }),
      (payload) => payload.template?.fields.find(({ id }) => id === field.id)?.version,
    ),
  );
}

export function removeField(template: Template, field: Field) {
  return changed(template.id, template.version, () =>
    act(TemplateFieldDeleteDocument, { input: { fieldId: field.id } }),
  );
}

export function approve(request: KeyRequest, expiresAt: string | null = null) {
  return act(KeyRequestApproveDocument, { input: { requestId: request.id, expiresAt } });
}

export function reject(request: KeyRequest, reason: string) {
  return act(KeyRequestRejectDocument, { input: { requestId: request.id, reason } });
}

interface Versioned {
  template: { version: number } | null;
}

function changed<Payload extends Versioned>(
  templateId: string,
  version: number,
  send: (expected: number) => Promise<Outcome<Payload>>,
): Promise<Outcome<Payload>> {
  return inOrder(templateId, version, send, ({ template }) => template?.version);
}
