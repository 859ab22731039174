// The chat page against a running kefu with the sample knowledge base, in a real Chromium.
//
//   KEFU_URL                  where it runs (default http://127.0.0.1:8787)
//   KEFU_E2E_QUESTION         a question with a cited answer (default 信用卡丢了怎么挂失？)
//   KEFU_E2E_LONG_QUESTION    a question that the model answers at length; the stop button is tested when it is set
//   KEFU_E2E_SHOTS            a folder for screenshots
//   KEFU_E2E_TIMEOUT_MS       the longest wait for one answer (default 120000)
//   KEFU_CHROMIUM             the browser (default /usr/bin/chromium)

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";

import { chromium } from "playwright-core";

const BASE = new URL(process.env.KEFU_URL ?? "http://127.0.0.1:8787");
const QUESTION = process.env.KEFU_E2E_QUESTION || "信用卡丢了怎么挂失？";
const LONG_QUESTION = process.env.KEFU_E2E_LONG_QUESTION || "";
const SHOTS = process.env.KEFU_E2E_SHOTS || "";
const WAIT = Number(process.env.KEFU_E2E_TIMEOUT_MS || 120_000);
const DESKTOP = { width: 1200, height: 820 };
const PHONE = { width: 360, height: 720 };

let browser;

before(async () => {
  if (SHOTS !== "") mkdirSync(SHOTS, { recursive: true });
  browser = await chromium.launch({
    executablePath: process.env.KEFU_CHROMIUM || "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
});

after(async () => {
  await browser?.close();
});

const id = (name) => `[data-testid="${name}"]`;

/**
 * Runs `body` on a fresh page and then asserts what must hold on every page: nothing broke the security policy, nothing
 * was written to the error console, no dialog opened and no other host was asked for anything.
 */
async function onPage(options, body) {
  const context = await browser.newContext({
    viewport: DESKTOP,
    locale: "zh-CN",
    colorScheme: "light",
    reducedMotion: "reduce",
    ...options,
  });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  const trouble = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") trouble.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => trouble.push(`exception: ${error.message}`));
  page.on("dialog", (dialog) => {
    trouble.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.protocol !== "data:" && url.host !== BASE.host) trouble.push(`request to ${url.host}`);
  });
  await page.exposeFunction("reportViolation", (what) => trouble.push(`policy: ${what}`));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      window.reportViolation(`${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
    });
  });
  try {
    const response = await page.goto(BASE.href);
    await page.waitForSelector(id("input"));
    await body(page, response);
    await page.waitForTimeout(200);
    assert.deepEqual(trouble, []);
  } finally {
    await context.close();
  }
}

async function shot(page, name) {
  if (SHOTS !== "") await page.screenshot({ path: path.join(SHOTS, `${name}.png`) });
}

/** Types a question, sends it with Enter and waits for the end of the reply; gives the reply back. */
async function ask(page, question) {
  const replies = await page.locator(id("reply")).count();
  await page.fill(id("input"), question);
  await page.press(id("input"), "Enter");
  const reply = page.locator(id("reply")).nth(replies);
  await reply.waitFor();
  await page.waitForFunction(
    (at) => {
      const phase = document.querySelectorAll('[data-testid="reply"]')[at]?.getAttribute("data-phase");
      return phase !== "waiting" && phase !== "streaming";
    },
    replies,
    { timeout: WAIT },
  );
  return reply;
}

async function finished(page, question) {
  const reply = await ask(page, question);
  assert.equal(await reply.getAttribute("data-phase"), "done", await reply.innerText());
  return reply;
}

/** A call of the API with the page's own credentials. */
function api(page, suffix) {
  return page.evaluate(async (end) => {
    const { id: conversation, token } = JSON.parse(sessionStorage.getItem("kefu.conversation"));
    const target = `/api/v1/${end.replace("{id}", conversation)}`;
    const response = await fetch(target, { headers: { Authorization: `Bearer ${token}` } });
    return { status: response.status, body: await response.json() };
  }, suffix);
}

test("the page loads under a strict policy, says that AI answers, and offers examples", async () => {
  await onPage({}, async (page, response) => {
    assert.equal(response.status(), 200);
    const policy = response.headers()["content-security-policy"] ?? "";
    for (const rule of ["default-src 'none'", "script-src 'self'", "frame-ancestors", "require-trusted-types-for 'script'"]) {
      assert.ok(policy.includes(rule), `the policy lacks ${rule}: ${policy}`);
    }
    assert.doesNotMatch(policy, /unsafe-/u);
    assert.equal(response.headers()["x-content-type-options"], "nosniff");
    const label = page.locator(id("ai-label"));
    assert.equal((await label.innerText()).trim(), "由 AI 提供");
    assert.ok(await label.isVisible());
    assert.equal(await page.locator(id("example")).count(), 4);
    assert.equal(await page.title(), "kefu 客服");
    await shot(page, "welcome");
  });
});

test("a question gets a cited answer; the citation opens its passage with the quote marked; rating works", async () => {
  await onPage({}, async (page) => {
    const reply = await finished(page, QUESTION);
    assert.notEqual((await reply.locator(id("answer-text")).innerText()).trim(), "");
    assert.ok((await reply.locator(id("citation")).count()) >= 1, "no citation");
    assert.match((await reply.locator(id("route")).innerText()).trim(), /^(已核准答案|业务办理|依据资料)$/u);
    assert.ok(await page.locator(id("ai-label")).isVisible());
    await shot(page, "answer");

    const stored = await api(page, "conversations/{id}");
    assert.equal(stored.status, 200);
    const message = stored.body.messages.filter(({ role }) => role === "assistant").at(-1);
    assert.ok(message.citations.length >= 1, "the stored message has no citation");
    const source = reply.locator(id("citation")).first();
    const passageId = await source.getAttribute("data-passage-id");
    const citation = message.citations.find((known) => known.passage_id === passageId);
    assert.ok(citation, "the stored message lacks the citation that is shown");
    const passage = await api(page, `passages/${passageId}`);
    assert.equal(passage.status, 200);
    assert.ok(citation.quote.trim() !== "" && passage.body.text.includes(citation.quote), "the quote is not in the passage");

    await source.click();
    await page.waitForSelector(`${id("passage-dialog")} mark`);
    const marks = await page.locator(`${id("passage-dialog")} mark`).allInnerTexts();
    const squeeze = (text) => text.replace(/\s+/gu, "");
    assert.ok(squeeze(marks.join("")) !== "", "the mark is empty");
    for (const mark of marks) assert.ok(squeeze(citation.quote).includes(squeeze(mark)), `marked but not quoted: ${mark}`);
    await shot(page, "passage");
    await page.keyboard.press("Escape");
    await page.waitForSelector(id("passage-dialog"), { state: "detached" });
    assert.ok(await source.evaluate((element) => element === document.activeElement), "the focus was not given back");

    const rated = page.waitForResponse((response) => response.url().endsWith("/rating"));
    await reply.locator(id("thumb-up")).click();
    assert.equal((await rated).status(), 204);
    await page.waitForSelector(`${id("thumb-up")}[aria-pressed="true"]`);

    const lowered = page.waitForResponse((response) => response.url().endsWith("/rating"));
    await reply.locator(id("thumb-down")).click();
    assert.equal((await lowered).status(), 204);
    await page.fill(id("comment"), "没有说清楚 <b>费用</b>");
    const commented = page.waitForResponse((response) => response.url().endsWith("/rating"));
    await page.click(id("comment-send"));
    assert.equal((await commented).status(), 204);
    await page.waitForSelector(id("comment"), { state: "detached" });
  });
});

test("a reload brings the conversation back; a new conversation clears it", async () => {
  await onPage({}, async (page) => {
    const reply = await finished(page, QUESTION);
    const text = await reply.locator(id("answer-text")).innerText();
    const citations = await reply.locator(id("citation")).count();
    const rated = page.waitForResponse((response) => response.url().endsWith("/rating"));
    await reply.locator(id("thumb-up")).click();
    assert.equal((await rated).status(), 204);

    await page.reload();
    await page.waitForSelector(id("reply"));
    assert.equal((await page.locator(id("question")).innerText()).trim(), QUESTION);
    assert.equal(await page.locator(id("answer-text")).innerText(), text);
    assert.equal(await page.locator(id("citation")).count(), citations);
    assert.equal(await page.locator(id("thumb-up")).getAttribute("aria-pressed"), "true");

    const closed = page.waitForResponse((response) => response.url().endsWith("/close"));
    await page.click(id("new-conversation"));
    await page.click(id("confirm-yes"));
    assert.equal((await closed).status(), 204);
    await page.waitForSelector(id("welcome"));
    await page.reload();
    await page.waitForSelector(id("welcome"));
    assert.equal(await page.locator(id("reply")).count(), 0);
  });
});

test("the stop button ends a streaming answer and keeps what was there", { skip: LONG_QUESTION === "" }, async () => {
  await onPage({}, async (page) => {
    await page.fill(id("input"), LONG_QUESTION);
    // The route is known before the model has read the passages. A whole answer may take only some tenths of a second:
    // the page itself presses the button as soon as both are there.
    await page.evaluate(() => {
      const find = (selector) => document.querySelector(selector);
      new MutationObserver((_, observer) => {
        const stop = find('[data-testid="stop"]');
        if (stop === null || find('[data-testid="reply"][data-route="passages"]') === null) return;
        observer.disconnect();
        stop.click();
      }).observe(document.body, { subtree: true, childList: true, attributes: true });
    });
    await page.press(id("input"), "Enter");
    const reply = page.locator(id("reply"));
    await page.waitForSelector(`${id("reply")}[data-phase="stopped"]`, { timeout: WAIT });
    // What was there by then: nothing, where the stop came before the first words.
    const said = () => reply.locator(id("answer-text")).allInnerTexts();
    const kept = await said();
    assert.ok(await page.locator(id("stopped")).isVisible());
    await page.waitForTimeout(1000);
    assert.deepEqual(await said(), kept, "the answer went on after the stop");
    await shot(page, "stopped");
    // The engine is free again: the next question is answered.
    await finished(page, QUESTION);
  });
});

test("the language can be switched and is remembered", async () => {
  await onPage({}, async (page) => {
    assert.equal(await page.getAttribute("html", "lang"), "zh-CN");
    await page.click(id("language"));
    assert.equal(await page.getAttribute("html", "lang"), "en");
    assert.equal((await page.locator(id("ai-label")).innerText()).trim(), "Provided by AI");
    await page.reload();
    await page.waitForSelector(id("welcome"));
    assert.equal((await page.locator(id("ai-label")).innerText()).trim(), "Provided by AI");
    await shot(page, "english");
  });
  await onPage({ locale: "en-US" }, async (page) => {
    assert.equal((await page.locator(id("ai-label")).innerText()).trim(), "Provided by AI");
  });
});

test("the dark appearance follows the system, can be chosen and is remembered", async () => {
  const brightness = (page) =>
    page.evaluate(() => {
      const channels = getComputedStyle(document.body).backgroundColor.match(/\d+/gu).map(Number);
      return (channels[0] + channels[1] + channels[2]) / 3;
    });
  await onPage({ colorScheme: "dark" }, async (page) => {
    assert.ok((await brightness(page)) < 60);
    await finished(page, QUESTION);
    await shot(page, "dark");
  });
  await onPage({ colorScheme: "light" }, async (page) => {
    assert.ok((await brightness(page)) > 200);
    await page.click(id("theme"));
    assert.ok((await brightness(page)) > 200);
    await page.click(id("theme"));
    assert.ok((await brightness(page)) < 60);
    await page.reload();
    await page.waitForSelector(id("input"));
    assert.ok((await brightness(page)) < 60);
  });
});

test("a phone of 360 px shows everything without scrolling sideways", async () => {
  const wide = (page) =>
    page.evaluate(() => {
      const outside = [...document.querySelectorAll("body *")].filter((element) => {
        if (element.closest(".table-scroll, .tip-panel, .visually-hidden") !== null) return false;
        const box = element.getBoundingClientRect();
        return box.width > 0 && (box.right > innerWidth + 1 || box.left < -1);
      });
      return {
        page: document.documentElement.scrollWidth - innerWidth,
        outside: outside.map((element) => element.className || element.tagName),
      };
    });
  await onPage({ viewport: PHONE, hasTouch: true, isMobile: true, deviceScaleFactor: 2 }, async (page) => {
    assert.deepEqual(await wide(page), { page: 0, outside: [] });
    await shot(page, "phone-welcome");
    const reply = await finished(page, QUESTION);
    assert.deepEqual(await wide(page), { page: 0, outside: [] });
    assert.ok(await page.locator(id("ai-label")).isVisible());
    await shot(page, "phone-answer");
    await reply.locator(id("citation")).first().click();
    await page.waitForSelector(`${id("passage-dialog")} mark`);
    assert.deepEqual(await wide(page), { page: 0, outside: [] });
    await shot(page, "phone-passage");
    await page.click(id("passage-close"));
    await page.fill(id("input"), "x".repeat(400));
    assert.deepEqual(await wide(page), { page: 0, outside: [] });
  });
});

test("markup typed by a visitor is shown as text and runs nothing", async () => {
  const hostile = `<img src=x onerror="document.title='owned';alert(1)"><script>alert(2)</script>`;
  await onPage({}, async (page) => {
    await finished(page, hostile);
    assert.equal((await page.locator(id("question")).innerText()).trim(), hostile);
    assert.equal(await page.locator(`${id("log")} :is(img, script, iframe, a, object, embed)`).count(), 0);
    assert.equal(await page.title(), "kefu 客服");
    await page.reload();
    await page.waitForSelector(id("question"));
    assert.equal((await page.locator(id("question")).innerText()).trim(), hostile);
    assert.equal(await page.locator(`${id("log")} :is(img, script, iframe, a, object, embed)`).count(), 0);
  });
});

test("the keyboard: an input method's Enter and Shift+Enter do not send, and too long a text cannot be sent", async () => {
  await onPage({}, async (page) => {
    const input = page.locator(id("input"));
    await input.fill("zhuan zhang");
    await input.evaluate((element) => {
      const options = { key: "Enter", keyCode: 229, bubbles: true, cancelable: true };
      element.dispatchEvent(new KeyboardEvent("keydown", { ...options, isComposing: true }));
      element.dispatchEvent(new KeyboardEvent("keydown", options));
    });
    await input.press("Shift+Enter");
    assert.equal(await input.inputValue(), "zhuan zhang\n");
    assert.equal(await page.locator(id("question")).count(), 0);

    await input.fill("字".repeat(1990));
    assert.match(await page.locator(id("counter")).innerText(), /10/u);
    await input.fill("字".repeat(2001));
    assert.ok(await page.locator(id("send")).isDisabled());
    await input.press("Enter");
    assert.equal(await page.locator(id("question")).count(), 0);
  });
});
