/** Light, dark, or as the system has it. public/theme.js sets the remembered one before anything is drawn. */
import { ref } from "vue";
import { remember } from "./remembered";

export const themes = ["system", "light", "dark"] as const;
export type Theme = (typeof themes)[number];

export const theme = ref<Theme>((document.documentElement.dataset.theme as Theme | undefined) ?? "system");

export function chooseTheme(chosen: Theme): void {
  theme.value = chosen;
  remember("theme", chosen === "system" ? null : chosen);
  if (chosen === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
}
