/** Languages: each is a file in locales/, named by its tag (BCP 47); whoever adds one adds the file, and nothing else. */
import { computed } from "vue";
import { createI18n } from "vue-i18n";
import { remembered, remember } from "./remembered";
import en from "./locales/en.json";

type Messages = typeof en;

const files = import.meta.glob<Messages>("./locales/*.json", { import: "default" });
const names = Object.keys(files).map((path) => path.replace(/^.*\/|\.json$/g, ""));

/** The languages that there are, each by its own name. */
export const languages = names.map((tag) => ({
  tag,
  name: capitalised(new Intl.DisplayNames(tag, { type: "language" }).of(tag) ?? tag, tag),
}));

export const i18n = createI18n<[Messages], string, false>({
  legacy: false,
  locale: "en",
  fallbackLocale: "en",
  messages: { en },
  pluralRules: Object.fromEntries(names.map((tag) => [tag, pluralRule(tag)])),
  missingWarn: false,
  fallbackWarn: false,
});

/** By which dates and amounts are written: the reader's own variant of the language, where the browser names one. */
export const customs = computed(() => {
  const tag = i18n.global.locale.value;
  return navigator.languages.find((each) => each.startsWith(`${tag}-`)) ?? tag;
});

export async function startLanguage(): Promise<void> {
  await speak(remembered("language") ?? preferred(navigator.languages));
}

export async function choose(tag: string): Promise<void> {
  remember("language", tag);
  await speak(tag);
}

/** The first language of ours that the reader prefers. */
export function preferred(wanted: readonly string[]): string {
  const found = wanted.map((each) => names.find((tag) => each === tag || each.startsWith(`${tag}-`)));
  return found.find((tag) => tag !== undefined) ?? "en";
}

async function speak(tag: string): Promise<void> {
  const load = files[`./locales/${tag}.json`];
  if (!load) return;
  i18n.global.setLocaleMessage(tag, await load());
  i18n.global.locale.value = tag;
  document.documentElement.lang = tag;
}

/** Forms stand in the order of the language's plural categories: in English one | other, in Russian one | few | many | other. */
export function pluralRule(tag: string): (quantity: number, forms: number) => number {
  const rules = new Intl.PluralRules(tag);
  const order = ["zero", "one", "two", "few", "many", "other"];
  const categories = rules.resolvedOptions().pluralCategories.sort((a, b) => order.indexOf(a) - order.indexOf(b));
  return (quantity, forms) => Math.min(categories.indexOf(rules.select(quantity)), forms - 1);
}

function capitalised(name: string, tag: string): string {
  return name.charAt(0).toLocaleUpperCase(tag) + name.slice(1);
}
