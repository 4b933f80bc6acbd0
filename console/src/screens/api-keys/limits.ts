/** How much each key of a template may call, in words. */
import type { Template } from "@/composables/useTemplates";
import { money, quantity } from "@/format/amounts";
import { customs } from "@/i18n";

type Translate = (name: string, slots?: Record<string, string>) => string;

export function limitsOf({ limits }: Template, t: Translate): string[] {
  const { callsPerSecond, callsPerDay, callsPerMonth, costPerDay, costPerMonth } = limits;
  const counted = (digits: string): string => quantity(digits, customs.value);
  const priced = (cost: { amount: string; currency: string }): string => money(cost.amount, cost.currency, customs.value);
  const said = [
    callsPerSecond === null ? null : t("limits.perSecond", { quantity: counted(String(callsPerSecond)) }),
    callsPerDay === null ? null : t("limits.perDay", { quantity: counted(callsPerDay) }),
    callsPerMonth === null ? null : t("limits.perMonth", { quantity: counted(callsPerMonth) }),
    costPerDay === null ? null : t("limits.perDay", { quantity: priced(costPerDay) }),
    costPerMonth === null ? null : t("limits.perMonth", { quantity: priced(costPerMonth) }),
  ].filter((each) => each !== null);
  return said.length ? said : [t("limits.none")];
}
