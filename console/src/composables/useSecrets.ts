/** The secrets of a client project. Values are read one by one, when they are asked for, and never kept by the cache. */
import { computed } from "vue";
import { act } from "@/api/acting";
import { inOrder } from "@/api/versions";
import {
  KeyImportDocument,
  ProjectChangesDocument,
  SecretCreateDocument,
  SecretDeleteDocument,
  SecretRevealDocument,
  SecretsDocument,
  SecretUpdateDocument,
  type SecretCreateInput,
  type SecretsQuery,
  type SecretUpdateInput,
} from "@/graphql/operations";
import { useLive } from "./useLive";

export type Secret = NonNullable<NonNullable<SecretsQuery["project"]>["secrets"]>[number];
export type ImportableKey = NonNullable<SecretsQuery["viewer"]>["keys"]["nodes"][number];

export function useSecrets(projectId: string) {
  const { data, ...rest } = useLive(SecretsDocument, { projectId }, { of: ProjectChangesDocument, on: { projectId } });
  return {
    secrets: computed(() => data.value?.project?.secrets ?? []),
    keys: computed(() => data.value?.viewer?.keys.nodes ?? []),
    ...rest,
  };
}

export function createSecret(input: SecretCreateInput) {
  return act(SecretCreateDocument, { input });
}

type Changes = Omit<SecretUpdateInput, "secretId" | "expectedVersion">;

/** Refused where somebody else changed the secret since `version`. */
export function updateSecret(secret: Secret, changes: Changes, version = secret.version) {
  return inOrder(
    secret.id,
    version,
    (expectedVersion) => act(SecretUpdateDocument, { input: { secretId: secret.id, expectedVersion, ...changes } }),
    (payload) => payload.secret?.version,
  );
}

export function deleteSecret(secret: Secret) {
  return act(SecretDeleteDocument, { input: { secretId: secret.id } });
}

export function revealSecret(secret: Secret) {
  return act(SecretRevealDocument, { input: { secretId: secret.id } });
}

export function importKey(projectId: string, keyId: string, prefix: string) {
  return act(KeyImportDocument, { input: { projectId, keyId, prefix } });
}
