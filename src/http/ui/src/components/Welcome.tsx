import type { JSX } from "preact";

import { useWords } from "../words";
import { Logo } from "./icons";

export function Welcome({ onAsk }: { readonly onAsk: (question: string) => void }): JSX.Element {
  const words = useWords();
  return (
    <section class="welcome" data-testid="welcome">
      <Logo />
      <h2 class="welcome-title">{words.greeting}</h2>
      <p class="welcome-text">{words.introduction}</p>
      <h3 class="welcome-label">{words.examplesLabel}</h3>
      <ul class="examples">
        {words.examples.map((example) => (
          <li key={example}>
            <button
              type="button"
              class="example"
              data-testid="example"
              lang={/\p{Script=Han}/u.test(example) ? "zh-CN" : "en"}
              onClick={() => onAsk(example)}
            >
              {example}
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
