import type { JSX } from "preact";

import { nextTheme, preferences, setLanguage } from "../preferences";
import { useStore } from "../store";
import { useWords } from "../words";
import { AutoIcon, Logo, MoonIcon, PlusIcon, SunIcon } from "./icons";

interface Props {
  readonly canStartAnew: boolean;
  readonly onStartAnew: () => void;
}

export function Header({ canStartAnew, onStartAnew }: Props): JSX.Element {
  const words = useWords();
  const { language, theme } = useStore(preferences);
  const themeWords = { auto: words.themeAuto, light: words.themeLight, dark: words.themeDark }[theme];
  const ThemeIcon = { auto: AutoIcon, light: SunIcon, dark: MoonIcon }[theme];
  const other = language === "zh" ? "en" : "zh";
  return (
    <header class="header">
      <div class="header-inner">
        <Logo />
        <div class="brand">
          <h1 class="brand-name">kefu 客服</h1>
          <p class="ai-label" data-testid="ai-label">
            {words.providedByAi}
          </p>
        </div>
        <div class="header-tools">
          <button
            type="button"
            class="tool tool-wide"
            data-testid="new-conversation"
            aria-label={words.newConversation}
            title={words.newConversation}
            disabled={!canStartAnew}
            onClick={onStartAnew}
          >
            <PlusIcon />
            <span class="tool-text">{words.newConversation}</span>
          </button>
          <button
            type="button"
            class="tool"
            data-testid="theme"
            aria-label={themeWords}
            title={themeWords}
            onClick={nextTheme}
          >
            <ThemeIcon />
          </button>
          <button
            type="button"
            class="tool tool-language"
            data-testid="language"
            lang={other === "zh" ? "zh-CN" : "en"}
            title={words.switchLanguage}
            onClick={() => setLanguage(other)}
          >
            {words.otherLanguage} <span class="visually-hidden">{words.switchLanguage}</span>
          </button>
        </div>
      </div>
    </header>
  );
}
