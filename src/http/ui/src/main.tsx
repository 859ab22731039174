import { render } from "preact";

import { Chat } from "./chat";
import { App } from "./components/App";
import { WORDS } from "./i18n";
import { preferences, startPreferences } from "./preferences";

startPreferences((language) => WORDS[language].documentTitle);
const chat = new Chat(() => preferences.get().language);
const root = document.getElementById("app");
if (root !== null) {
  render(<App chat={chat} />, root);
  void chat.restore();
}
