import type { JSX } from "preact";
import { useState } from "preact/hooks";

import { preferences } from "../../preferences";
import { useStore } from "../../store";
import * as api from "../api";
import { Badge, Link, ListFrame, PageHead } from "../components/parts";
import { scopeInWords } from "../format";
import { useListed } from "../hooks";
import type { User } from "../model";
import { go, href, place } from "../router";
import { may } from "../session";
import { useAdminWords } from "../words";

export function Faqs({ user }: { readonly user: User }): JSX.Element {
  const words = useAdminWords();
  const { language } = useStore(preferences);
  const asked = useStore(place).query.get("q") ?? "";
  const [typed, setTyped] = useState(asked);
  const list = useListed(`faqs ${asked}`, api.faqs, { q: asked });
  const search = (q: string): void => void go(href("faqs", q === "" ? undefined : { q }), { replace: true });
  return (
    <>
      <PageHead title={words.faqsTitle} text={words.faqsText}>
        {may(user, "draft") && (
          <Link to={href("faqs/new")} class="button button-primary" testId="faq-new">
            {words.faqNew}
          </Link>
        )}
      </PageHead>
      <form
        class="search"
        role="search"
        onSubmit={(event) => {
          event.preventDefault();
          search(typed.trim());
        }}
      >
        <input type="search" value={typed} aria-label={words.faqSearch} placeholder={words.faqSearch} data-testid="faq-search" onInput={(event) => setTyped(event.currentTarget.value)} />
        <button type="submit" class="button">
          {words.search}
        </button>
        {asked !== "" && (
          <button
            type="button"
            class="linklike"
            onClick={() => {
              setTyped("");
              search("");
            }}
          >
            {words.searchClear}
          </button>
        )}
      </form>
      <ListFrame list={list} empty={asked === "" ? words.faqsEmpty : words.faqsNone}>
        {(items) => (
          <ul class="rows" data-testid="faqs">
            {items.map((item) => (
              <li key={item.id} class="row">
                <div class="row-main">
                  <p class="row-title">
                    <Link to={href(`faqs/${item.id}`)} testId="faq">
                      {item.question}
                    </Link>
                  </p>
                  <p class="row-text clamp">{item.answer}</p>
                  <p class="small muted row-facts">
                    <span class="mono break">{item.key}</span>
                    {item.category !== "" && <Badge>{item.category}</Badge>}
                    {item.variants.length > 0 && <span>{words.variantCount(item.variants.length + 1)}</span>}
                    <span>{scopeInWords(item.scope, words, language)}</span>
                  </p>
                </div>
              </li>
            ))}
          </ul>
        )}
      </ListFrame>
    </>
  );
}
