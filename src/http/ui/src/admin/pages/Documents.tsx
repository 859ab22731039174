import type { JSX } from "preact";

import { useStore } from "../../store";
import { preferences } from "../../preferences";
import * as api from "../api";
import { Link, ListFrame, PageHead } from "../components/parts";
import { scopeInWords, size, when } from "../format";
import { useListed } from "../hooks";
import type { User } from "../model";
import { href } from "../router";
import { may } from "../session";
import { useAdminWords } from "../words";
import { Upload } from "./Upload";

export function Documents({ user }: { readonly user: User }): JSX.Element {
  const words = useAdminWords();
  const { language } = useStore(preferences);
  const list = useListed("documents", api.documents);
  return (
    <>
      <PageHead title={words.documentsTitle} text={words.documentsText} />
      {may(user, "decide") && <Upload onDone={list.reload} />}
      <ListFrame list={list} empty={words.documentsEmpty}>
        {(items) => (
          <table class="table" data-testid="documents">
            <thead>
              <tr>
                <th scope="col">{words.colTitle}</th>
                <th scope="col">{words.colFormat}</th>
                <th scope="col" class="numeric">
                  {words.colPassages}
                </th>
                <th scope="col" class="numeric">
                  {words.colSize}
                </th>
                <th scope="col">{words.colImported}</th>
                <th scope="col">{words.colScope}</th>
              </tr>
            </thead>
            <tbody>
              {items.map((item) => (
                <tr key={item.id}>
                  <th scope="row">
                    <Link to={href(`documents/${item.id}`)} testId="document">
                      {item.title}
                    </Link>
                    <span class="small muted mono break">{item.source}</span>
                  </th>
                  <td data-label={words.colFormat}>{item.format}</td>
                  <td data-label={words.colPassages} class="numeric">
                    {item.passages ?? "—"}
                  </td>
                  <td data-label={words.colSize} class="numeric">
                    {size(item.bytes)}
                  </td>
                  <td data-label={words.colImported}>{when(item.importedAt, language)}</td>
                  <td data-label={words.colScope}>{scopeInWords(item.scope, words, language)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </ListFrame>
    </>
  );
}
