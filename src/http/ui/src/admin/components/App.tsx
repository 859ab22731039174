import type { JSX } from "preact";

import { Dialog } from "../../components/Dialog";
import { useStore } from "../../store";
import type { User } from "../model";
import { Account } from "../pages/Account";
import { Audit } from "../pages/Audit";
import { DocumentPage } from "../pages/Document";
import { Documents } from "../pages/Documents";
import { Compare, Drafts } from "../pages/Drafts";
import { FaqEdit } from "../pages/FaqEdit";
import { Faqs } from "../pages/Faqs";
import { Gaps } from "../pages/Gaps";
import { GoldenPage } from "../pages/Golden";
import { Intents } from "../pages/Intents";
import { Overview } from "../pages/Overview";
import { Suggestions } from "../pages/Suggestions";
import { Try } from "../pages/Try";
import { Versions } from "../pages/Versions";
import { place, steps, type Place } from "../router";
import { may, session, signedIn } from "../session";
import { useAdminWords } from "../words";
import { Loading, PageHead } from "./parts";
import { Shell } from "./Shell";
import { SignIn } from "./SignIn";
import { Tools } from "./Tools";

function NotFound(): JSX.Element {
  const words = useAdminWords();
  return <PageHead title={words.notFoundTitle} text={words.notFoundText} />;
}

function page(where: Place, user: User): JSX.Element {
  const [first = "", second = "", third] = steps(where.path);
  if (third !== undefined) return <NotFound />;
  switch (first) {
    case "":
      return <Overview />;
    case "documents":
      return second === "" ? <Documents user={user} /> : <DocumentPage key={second} id={second} revision={where.query.get("revision") ?? ""} user={user} />;
    case "faqs":
      if (second === "") return <Faqs user={user} />;
      return <FaqEdit key={second} id={second === "new" ? null : second} question={where.query.get("question") ?? ""} user={user} />;
    case "drafts":
      return second === "" ? <Drafts user={user} /> : <Compare key={second} id={second} user={user} />;
    case "versions":
      return <Versions user={user} />;
    case "try":
      return <Try drafts={where.query.get("drafts") ?? ""} />;
    case "intents":
      return <Intents user={user} />;
    case "golden":
      return <GoldenPage user={user} />;
    case "gaps":
      return <Gaps user={user} />;
    case "suggestions":
      return <Suggestions user={user} />;
    case "audit":
      return may(user, "audit") ? <Audit /> : <NotFound />;
    case "account":
      return <Account user={user} />;
    default:
      return <NotFound />;
  }
}

export function App(): JSX.Element {
  const now = useStore(session);
  const where = useStore(place);
  const words = useAdminWords();
  if (now.state === "unknown") return <Loading />;
  if (now.state === "out") {
    return (
      <main class="sign-in-page">
        <SignIn again={null} onDone={signedIn} />
        <Tools />
      </main>
    );
  }
  const { user } = now;
  const again = (who: User): void => {
    // What stands on the page was typed and loaded by somebody else.
    if (who.id !== user.id) location.reload();
    else signedIn(who);
  };
  return (
    <>
      <Shell user={user} path={where.path}>
        {user.mustChange ? <Account user={user} /> : page(where, user)}
      </Shell>
      {now.state === "expired" && (
        <Dialog class="dialog-sign-in" label={words.signInAgain} onClose={() => undefined} testId="sign-in-again" keepOpen>
          <SignIn again={user} onDone={again} />
        </Dialog>
      )}
    </>
  );
}
