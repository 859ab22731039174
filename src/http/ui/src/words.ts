import { createContext } from "preact";
import { useContext } from "preact/hooks";

import { WORDS, type Words } from "./i18n";

export const WordsContext = createContext<Words>(WORDS.zh);

export function useWords(): Words {
  return useContext(WordsContext);
}
