import { describe, expect, it } from "vitest";
import { languages, pluralRule, preferred } from "./i18n";

interface Tree {
  [name: string]: string | Tree;
}

const files = import.meta.glob<Tree>("./locales/*.json", { import: "default", eager: true });
const english = leaves(files["./locales/en.json"] ?? {});

function leaves(tree: Tree, path = ""): Map<string, string> {
  return new Map(
    Object.entries(tree).flatMap(([name, value]) =>
      typeof value === "string" ? [[path + name, value] as const] : [...leaves(value, `${path}${name}.`)],
    ),
  );
}

function slots(text: string): string[] {
  return [...new Set(text.match(/\{\w+\}/g))].sort();
}

describe.each(Object.entries(files))("%s", (path, tree) => {
  const said = leaves(tree);
  const tag = path.replace(/^.*\/|\.json$/g, "");
  const categories = new Intl.PluralRules(tag).resolvedOptions().pluralCategories.length;

  it("says all that is said in English, with the same slots", () => {
    expect([...said.keys()].sort()).toEqual([...english.keys()].sort());
    for (const [name, text] of said) expect(slots(text), name).toEqual(slots(english.get(name) ?? ""));
  });

  it("has as many forms of what is counted as its language", () => {
    for (const [name, text] of said) {
      if (english.get(name)?.includes(" | ")) expect(text.split(" | ").length, name).toBe(categories);
    }
  });

  it("is offered by its own name", () => {
    expect(languages.map((each) => each.tag)).toContain(tag);
  });
});

describe("pluralRule", () => {
  it("counts in Russian by its own forms", () => {
    const rule = pluralRule("ru");
    expect([1, 2, 5, 11, 21, 22, 25].map((quantity) => rule(quantity, 4))).toEqual([0, 1, 2, 2, 0, 1, 2]);
  });
});

describe("preferred", () => {
  it("takes the first language of the reader's that there is, else English", () => {
    expect(preferred(["de-DE", "ru-RU", "en"])).toBe("ru");
    expect(preferred(["de"])).toBe("en");
  });
});
