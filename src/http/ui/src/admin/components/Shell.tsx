import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

import { Logo } from "../../components/icons";
import * as api from "../api";
import { useAction } from "../hooks";
import type { User } from "../model";
import { href, steps } from "../router";
import { useStore } from "../../store";
import { learns, may, signedOut } from "../session";
import { useAdminWords, type AdminWords } from "../words";
import { Failure, Link } from "./parts";
import { Tools } from "./Tools";

type Section = keyof AdminWords["nav"];

interface Group {
  readonly title: string;
  readonly sections: readonly Section[];
}

function groups(words: AdminWords, user: User, learning: boolean): readonly Group[] {
  const all: readonly Group[] = [
    { title: words.navKnowledge, sections: ["", "documents", "faqs", "drafts", "versions"] },
    { title: words.navCheck, sections: ["try", "golden"] },
    { title: words.navLearn, sections: ["gaps", "suggestions", "intents"] },
    { title: words.navSystem, sections: may(user, "audit") ? ["audit", "account"] : ["account"] },
  ];
  return learning ? all : all.filter((group) => group.title !== words.navLearn);
}

export function Shell({ user, path, children }: { readonly user: User; readonly path: string; readonly children: ComponentChildren }): JSX.Element {
  const words = useAdminWords();
  const leaving = useAction();
  const [open, setOpen] = useState(false);
  const learning = useStore(learns);
  const here = steps(path)[0] ?? "";
  useEffect(() => setOpen(false), [path]);
  useEffect(() => {
    // What is shown on every page depends on it; the overview shows its failures.
    if (!user.mustChange) api.overview().catch(() => undefined);
  }, [user.id, user.mustChange]);
  useEffect(() => {
    const close = (event: KeyboardEvent): void => {
      if (event.key === "Escape") setOpen(false);
    };
    addEventListener("keydown", close);
    return () => removeEventListener("keydown", close);
  }, []);
  return (
    <div class={`shell ${open ? "shell-open" : ""}`}>
      <a class="skip" href="#content">
        {words.skip}
      </a>
      <header class="bar">
        <button type="button" class="tool menu-button" aria-expanded={open} aria-controls="navigation" data-testid="menu" onClick={() => setOpen(!open)}>
          <svg class="icon" viewBox="0 0 24 24" width="22" height="22" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" aria-hidden="true">
            <path d="M4 7h16M4 12h16M4 17h16" />
          </svg>
          <span class="visually-hidden">{words.menu}</span>
        </button>
        <Logo />
        <span class="bar-name">{words.appName}</span>
        <Tools />
      </header>
      <nav id="navigation" class="side" aria-label={words.navigation}>
        {groups(words, user, learning).map((group) => (
          <div class="side-group" key={group.title}>
            <p class="side-title">{group.title}</p>
            <ul>
              {group.sections.map((section) => (
                <li key={section}>
                  <Link to={href(section)} class="side-link" current={here === section} testId={`nav-${section === "" ? "overview" : section}`}>
                    {words.nav[section]}
                  </Link>
                </li>
              ))}
            </ul>
          </div>
        ))}
        <div class="side-person">
          <p class="side-name" title={user.name}>
            <span class="visually-hidden">{words.signedInAs} </span>
            <span data-testid="who">{user.displayName}</span>
          </p>
          <p class="small muted">{words.roles[user.role]}</p>
          <p class="side-links">
            <a href="/" class="small">
              {words.chatPage}
            </a>
            <button type="button" class="linklike small" data-testid="sign-out" disabled={leaving.running} onClick={() => void leaving.run(api.logout).then((done) => done && signedOut())}>
              {words.signOut}
            </button>
          </p>
          <Failure failure={leaving.failure} />
        </div>
      </nav>
      <main id="content" class="content" tabIndex={-1}>
        {children}
      </main>
    </div>
  );
}
