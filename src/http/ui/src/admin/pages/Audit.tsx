import type { JSX } from "preact";

import { preferences } from "../../preferences";
import { useStore } from "../../store";
import * as api from "../api";
import { ListFrame, PageHead } from "../components/parts";
import { when } from "../format";
import { useListed } from "../hooks";
import { useAdminWords } from "../words";

export function Audit(): JSX.Element {
  const words = useAdminWords();
  const { language } = useStore(preferences);
  const list = useListed("audit", api.audit);
  return (
    <>
      <PageHead title={words.auditTitle} text={words.auditText} />
      <ListFrame list={list} empty={words.auditEmpty}>
        {(items) => (
          <table class="table" data-testid="audit">
            <thead>
              <tr>
                <th scope="col" class="numeric">
                  #
                </th>
                <th scope="col">{words.colWhen}</th>
                <th scope="col">{words.colWho}</th>
                <th scope="col">{words.colAction}</th>
                <th scope="col">{words.colObject}</th>
                <th scope="col">{words.colDetail}</th>
              </tr>
            </thead>
            <tbody>
              {items.map((line) => (
                <tr key={line.seq}>
                  <th scope="row" class="numeric">
                    {line.seq}
                  </th>
                  <td data-label={words.colWhen}>{when(line.at, language)}</td>
                  <td data-label={words.colWho}>{line.actor}</td>
                  <td data-label={words.colAction} class="mono">
                    {line.action}
                  </td>
                  <td data-label={words.colObject} class="break">
                    {line.object || words.never}
                  </td>
                  <td data-label={words.colDetail} class="small mono break">
                    {line.detail || words.never}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </ListFrame>
    </>
  );
}
