import { render } from "preact";

import { startPreferences } from "../preferences";
import * as api from "./api";
import { App } from "./components/App";
import { startRouter } from "./router";
import { signedIn, signedOut } from "./session";
import { ADMIN_WORDS } from "./words";

startPreferences((language) => ADMIN_WORDS[language].documentTitle);
startRouter();
const root = document.getElementById("app");
if (root !== null) {
  render(<App />, root);
  // Nobody signed in, or no answer: the sign-in form says what is wrong when it is sent.
  api.me().then(signedIn, signedOut);
}
