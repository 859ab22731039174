/** Language and appearance: remembered across visits, applied to the document's root. */

import { HTML_LANGUAGE, browserLanguage, type Language } from "./i18n";
import { read, write } from "./storage";
import { Store } from "./store";

export const THEMES = ["auto", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

export interface Preferences {
  readonly language: Language;
  readonly theme: Theme;
}

const LANGUAGE_KEY = "kefu.language";
const THEME_KEY = "kefu.theme";
const darkSystem = matchMedia("(prefers-color-scheme: dark)");

function initial(): Preferences {
  const language = read(() => localStorage, LANGUAGE_KEY);
  const theme = read(() => localStorage, THEME_KEY);
  return {
    language: language === "zh" || language === "en" ? language : browserLanguage(navigator.languages),
    theme: THEMES.find((known) => known === theme) ?? "auto",
  };
}

export const preferences = new Store<Preferences>(initial());

let title: (language: Language) => string = () => "";

function apply(): void {
  const { language, theme } = preferences.get();
  const dark = theme === "dark" || (theme === "auto" && darkSystem.matches);
  const root = document.documentElement;
  root.lang = HTML_LANGUAGE[language];
  root.dataset["theme"] = dark ? "dark" : "light";
  document.title = title(language);
}

/** `titled` names the document in each language. */
export function startPreferences(titled: (language: Language) => string): void {
  title = titled;
  apply();
  preferences.watch(apply);
  darkSystem.addEventListener("change", apply);
}

export function setLanguage(language: Language): void {
  write(() => localStorage, LANGUAGE_KEY, language);
  preferences.set({ ...preferences.get(), language });
}

export function nextTheme(): void {
  const current = preferences.get();
  const theme = THEMES[(THEMES.indexOf(current.theme) + 1) % THEMES.length] ?? "auto";
  write(() => localStorage, THEME_KEY, theme === "auto" ? null : theme);
  preferences.set({ ...current, theme });
}
