import type { JSX } from "preact";
import { useState } from "preact/hooks";

import { Logo } from "../../components/icons";
import * as api from "../api";
import { useAction } from "../hooks";
import type { User } from "../model";
import { useAdminWords } from "../words";
import { Failure, Field } from "./parts";

/** `again`: whose session has ended, while a page is open. */
export function SignIn({ again, onDone }: { readonly again: User | null; readonly onDone: (user: User) => void }): JSX.Element {
  const words = useAdminWords();
  const action = useAction();
  const [name, setName] = useState(again?.name ?? "");
  const [password, setPassword] = useState("");
  const [code, setCode] = useState("");
  const [codeAsked, setCodeAsked] = useState(false);
  const submit = async (): Promise<void> => {
    await action.run(async () => {
      try {
        onDone(await api.login(name, password, code));
      } catch (error) {
        if (error instanceof Error && "code" in error && error.code === "code_needed") setCodeAsked(true);
        else throw error;
      }
    });
  };
  return (
    <form
      class="sign-in form"
      aria-labelledby="sign-in-title"
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
    >
      <Logo />
      <h1 id="sign-in-title">{again === null ? words.signInTitle : words.signInAgain}</h1>
      {again !== null && <p class="muted">{words.signInAgainText}</p>}
      <Field label={words.name} value={name} onInput={setName} autocomplete="username" testId="name" autofocus={again === null} />
      <Field label={words.password} value={password} onInput={setPassword} type="password" autocomplete="current-password" testId="password" autofocus={again !== null} />
      {codeAsked && <Field label={words.code} value={code} onInput={setCode} autocomplete="one-time-code" hint={words.codeHint} testId="code" autofocus />}
      <Failure failure={action.failure} />
      <button type="submit" class="button button-primary button-wide" data-testid="sign-in" disabled={action.running || name === "" || password === ""}>
        {action.running ? words.loading : words.signIn}
      </button>
      <p class="small muted">{words.noAccount}</p>
    </form>
  );
}
