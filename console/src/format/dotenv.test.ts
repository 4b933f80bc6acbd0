import { describe, expect, it } from "vitest";
import { dotenv, partOfName } from "./dotenv";

describe("dotenv", () => {
  it("quotes what would be read otherwise", () => {
    const values = ["plain-1.2/3", "two words", "$HOME", 'say "hi"', "it's $5", "two\nlines", ""];
    expect(dotenv(values.map((value, at) => ({ name: `S${at}`, value })))).toBe(
      [
        "S0=plain-1.2/3",
        "S1='two words'",
        "S2='$HOME'",
        `S3='say "hi"'`,
        'S4="it\'s \\$5"',
        'S5="two\\nlines"',
        "S6=",
        "",
      ].join("\n"),
    );
  });
});

describe("partOfName", () => {
  it("has one underscore for each run of other characters", () => {
    expect(["project ID", "input -- node/ID", "Größe", "a__b"].map(partOfName)).toEqual([
      "project_ID",
      "input_node_ID",
      "Gr_e",
      "a__b",
    ]);
  });
});
