import { render } from "preact";

import { Chat } from "./chat";
import { App } from "./components/App";
import { preferences, startPreferences } from "./preferences";

startPreferences();
const chat = new Chat(() => preferences.get().language);
const root = document.getElementById("app");
if (root !== null) {
  render(<App chat={chat} />, root);
  void chat.restore();
}
