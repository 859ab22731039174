import type { JSX } from "preact";

import { AutoIcon, MoonIcon, SunIcon } from "../../components/icons";
import { nextTheme, preferences, setLanguage } from "../../preferences";
import { useStore } from "../../store";
import { useAdminWords } from "../words";

/** Appearance and language. */
export function Tools(): JSX.Element {
  const words = useAdminWords();
  const { language, theme } = useStore(preferences);
  const ThemeIcon = { auto: AutoIcon, light: SunIcon, dark: MoonIcon }[theme];
  const other = language === "zh" ? "en" : "zh";
  return (
    <div class="tools">
      <button type="button" class="tool" data-testid="theme" aria-label={words.themes[theme]} title={words.themes[theme]} onClick={nextTheme}>
        <ThemeIcon />
      </button>
      <button type="button" class="tool" data-testid="language" lang={other === "zh" ? "zh-CN" : "en"} title={words.switchLanguage} onClick={() => setLanguage(other)}>
        {words.otherLanguage} <span class="visually-hidden">{words.switchLanguage}</span>
      </button>
    </div>
  );
}
