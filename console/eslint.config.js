import { defineConfigWithVueTs, vueTsConfigs } from "@vue/eslint-config-typescript";
import vue from "eslint-plugin-vue";
import accessibility from "eslint-plugin-vuejs-accessibility";

export default defineConfigWithVueTs(
  { ignores: ["dist/", "src/graphql/", "public/"] },
  vue.configs["flat/recommended"],
  accessibility.configs["flat/recommended"],
  vueTsConfigs.strict,
  vueTsConfigs.stylistic,
  {
    rules: {
      "@typescript-eslint/consistent-type-definitions": "off", // a type and an interface are equally good
      "vue/block-order": ["error", { order: ["script", "template", "style"] }],
      "vue/html-self-closing": ["error", { html: { void: "always" } }],
      "vue/max-attributes-per-line": "off", // line width decides
      "vue/multi-word-component-names": "off", // ours stand in folders that say whose they are
      "vue/singleline-html-element-content-newline": "off", // line width decides
      "vuejs-accessibility/label-has-for": ["error", { required: { some: ["nesting", "id"] } }],
    },
  },
);
