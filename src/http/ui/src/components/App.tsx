import type { JSX } from "preact";
import { useState } from "preact/hooks";

import type { Chat } from "../chat";
import { WORDS } from "../i18n";
import { preferences } from "../preferences";
import { useStore } from "../store";
import { WordsContext } from "../words";
import { Composer, focusComposer } from "./Composer";
import { ConfirmDialog } from "./ConfirmDialog";
import { Header } from "./Header";
import { MessageList } from "./MessageList";
import { PassageDialog } from "./PassageDialog";

export function App({ chat }: { readonly chat: Chat }): JSX.Element {
  const words = WORDS[useStore(preferences).language];
  const state = useStore(chat.state);
  const [confirming, setConfirming] = useState(false);
  return (
    <WordsContext.Provider value={words}>
      <div class="app">
        <Header canStartAnew={state.items.length > 0} onStartAnew={() => setConfirming(true)} />
        <MessageList chat={chat} state={state} />
        <Composer chat={chat} state={state} />
      </div>
      {state.openCitation !== null && (
        <PassageDialog
          key={state.openCitation.passageId + state.openCitation.quote}
          citation={state.openCitation}
          load={(citation) => chat.passage(citation)}
          onClose={() => chat.openCitation(null)}
        />
      )}
      {confirming && (
        <ConfirmDialog
          title={words.confirmNewTitle}
          text={words.confirmNewText}
          yes={words.confirmNewYes}
          onAnswer={(yes) => {
            setConfirming(false);
            if (!yes) return;
            void chat.startAnew();
            focusComposer();
          }}
        />
      )}
    </WordsContext.Provider>
  );
}
