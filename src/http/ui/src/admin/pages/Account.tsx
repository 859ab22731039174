import type { JSX } from "preact";
import { useState } from "preact/hooks";

import * as api from "../api";
import { Done, Failure, Field, PageHead } from "../components/parts";
import { useAction } from "../hooks";
import type { User } from "../model";
import { signedIn } from "../session";
import { useAdminWords } from "../words";

const MIN_CHARS = 12;

export function Account({ user }: { readonly user: User }): JSX.Element {
  const words = useAdminWords();
  const action = useAction();
  const [old, setOld] = useState("");
  const [next, setNext] = useState("");
  const [again, setAgain] = useState("");
  const [tried, setTried] = useState(false);
  const [done, setDone] = useState(false);
  const short = [...next].length < MIN_CHARS;
  const save = async (): Promise<void> => {
    setTried(true);
    setDone(false);
    if (old === "" || short || next !== again) return;
    await action.run(async () => {
      signedIn(await api.changePassword(old, next));
      setOld("");
      setNext("");
      setAgain("");
      setTried(false);
      setDone(true);
    });
  };
  return (
    <>
      <PageHead title={words.nav.account} text={`${user.displayName} (${user.name}) · ${words.roles[user.role]}`} />
      {user.mustChange && <p class="notice notice-warn">{words.mustChange}</p>}
      <Done>{done && <p>{words.passwordChanged}</p>}</Done>
      <form
        class="form card card-narrow"
        aria-labelledby="password-title"
        onSubmit={(event) => {
          event.preventDefault();
          void save();
        }}
      >
        <h2 id="password-title">{words.changePassword}</h2>
        {/* Lets a password manager know whose it is. */}
        <input class="visually-hidden" type="text" autocomplete="username" value={user.name} readOnly tabIndex={-1} aria-hidden="true" />
        <Field label={words.oldPassword} type="password" autocomplete="current-password" value={old} onInput={setOld} testId="old" error={tried && old === "" ? words.fieldNeeded : null} />
        <Field label={words.newPassword} type="password" autocomplete="new-password" value={next} onInput={setNext} testId="new" hint={words.newPasswordHint} error={tried && short ? words.newPasswordHint : null} />
        <Field label={words.newPasswordAgain} type="password" autocomplete="new-password" value={again} onInput={setAgain} testId="new-again" error={tried && next !== again ? words.passwordsDiffer : null} />
        <Failure failure={action.failure} />
        <p class="button-row">
          <button type="submit" class="button button-primary" data-testid="change-password" disabled={action.running}>
            {action.running ? words.saving : words.changePassword}
          </button>
        </p>
      </form>
    </>
  );
}
