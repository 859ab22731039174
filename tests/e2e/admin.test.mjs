// The pages of /admin against a running kefu, in a real Chromium. They change its knowledge base: use one of its own.
//
//   KEFU_URL               where it runs (default http://127.0.0.1:8787)
//   KEFU_ADMIN             name and password of an admin, as NAME:PASSWORD; without it these tests are skipped
//   KEFU_E2E_SHOTS         a folder for screenshots
//   KEFU_E2E_TIMEOUT_MS    the longest wait for one answer (default 120000)
//   KEFU_CHROMIUM          the browser (default /usr/bin/chromium)

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";

import { chromium } from "playwright-core";

const BASE = new URL(process.env.KEFU_URL ?? "http://127.0.0.1:8787");
const [NAME = "", PASSWORD = ""] = (process.env.KEFU_ADMIN ?? "").split(/:(.*)/su);
const SHOTS = process.env.KEFU_E2E_SHOTS || "";
const WAIT = Number(process.env.KEFU_E2E_TIMEOUT_MS || 120_000);
const DESKTOP = { width: 1280, height: 860 };
const PHONE = { width: 360, height: 740 };
const skip = NAME === "" ? "KEFU_ADMIN is not set" : false;

// A fact that no sample document has; the number tells one run's document from another's.
const FEE = 100 + (Date.now() % 800);
const FILE = `e2e-camper-${FEE}.md`;
const TEXT = `# 星空露营车租赁\n\n## 收费\n\n星空露营车的日租金为每辆${FEE}元，押金另收500元。\n\n## 取车\n\n取车时须本人携带驾驶证到营地办理。\n`;
const QUESTION = "星空露营车的日租金是多少钱？";

let browser;

before(async () => {
  if (SHOTS !== "") mkdirSync(SHOTS, { recursive: true });
  browser = await chromium.launch({
    executablePath: process.env.KEFU_CHROMIUM || "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
});

after(async () => {
  await browser?.close();
});

const id = (name) => `[data-testid="${name}"]`;

/** Runs `body` on a fresh page, and then asserts that nothing broke the security policy or asked another host. Failed
 * requests are written to the console by the browser itself; those expected are named by their status. */
async function onPage(options, body) {
  const { expect = [], ...rest } = options;
  const context = await browser.newContext({ viewport: DESKTOP, locale: "zh-CN", colorScheme: "light", reducedMotion: "reduce", ...rest });
  context.setDefaultTimeout(30_000);
  const page = await context.newPage();
  const trouble = [];
  page.on("console", (message) => {
    const known = expect.some((status) => message.text().includes(`status of ${status}`));
    if (["error", "warning"].includes(message.type()) && !known) trouble.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => trouble.push(`exception: ${error.message}`));
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
    await body(page, context);
    assert.deepEqual(trouble, []);
  } finally {
    await context.close();
  }
}

async function shot(page, name) {
  if (SHOTS !== "") await page.screenshot({ path: path.join(SHOTS, `${name}.png`), fullPage: true });
}

async function open(page, place) {
  await page.goto(new URL(place, BASE).href);
}

async function signIn(page, place = "/admin") {
  await open(page, place);
  await page.fill(id("name"), NAME);
  await page.fill(id("password"), PASSWORD);
  await page.click(id("sign-in"));
  // On a phone it is in the menu.
  await page.waitForSelector(id("who"), { state: "attached" });
}

async function noSidewaysScroll(page, what) {
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wider <= 0, `${what} is ${wider} px wider than the screen`);
}

const at = (page) => new URL(page.url()).pathname;

/** Asks on the visitors' page; gives the text of the reply. */
async function askAsVisitor(context, question) {
  const page = await context.newPage();
  await page.goto(BASE.href);
  await page.fill(id("input"), question);
  await page.press(id("input"), "Enter");
  const reply = page.locator(id("reply")).first();
  await reply.waitFor();
  await page.waitForFunction(
    () => !["waiting", "streaming"].includes(document.querySelector('[data-testid="reply"]')?.getAttribute("data-phase")),
    undefined,
    { timeout: WAIT },
  );
  const text = await reply.innerText();
  await page.close();
  return text;
}

test("nobody sees anything before signing in, and a wrong password is told plainly", { skip }, async () => {
  await onPage({ expect: [401] }, async (page) => {
    await open(page, "/admin/documents");
    await page.waitForSelector(id("sign-in"));
    assert.equal(await page.locator(id("documents")).count(), 0);
    await page.fill(id("name"), `${NAME}-nobody`);
    await page.fill(id("password"), "not this password");
    await page.keyboard.press("Enter");
    const failure = page.locator(id("failure"));
    await failure.waitFor();
    assert.equal(await failure.getAttribute("data-code"), "wrong_credentials");
    assert.equal(await page.inputValue(id("name")), `${NAME}-nobody`, "nothing typed is lost");
    await shot(page, "admin-sign-in");
  });
});

test("signing in leads to the page that was asked for; signing out ends the session", { skip }, async () => {
  await onPage({ expect: [401] }, async (page, context) => {
    await signIn(page, "/admin/faqs");
    assert.equal(at(page), "/admin/faqs");
    const cookies = (await context.cookies()).filter((cookie) => cookie.name.includes("kefu-session"));
    assert.equal(cookies.length, 1);
    assert.ok(cookies[0].httpOnly && cookies[0].sameSite === "Strict");
    await page.reload();
    await page.waitForSelector(id("who"));
    await page.click(id("sign-out"));
    await page.waitForSelector(id("sign-in"));
    // The cookie that was there is worth nothing any more.
    await context.addCookies(cookies);
    await page.reload();
    await page.waitForSelector(id("sign-in"));
  });
});

test("what is typed outlives the session", { skip }, async () => {
  await onPage({ expect: [401, 404] }, async (page, context) => {
    await signIn(page, "/admin/faqs/new");
    await page.fill(id("question"), "一个写了一半的问题");
    await page.fill(id("answer"), "一个写了一半的答案");
    await context.clearCookies();
    await page.click(id("save"));
    await page.waitForSelector(id("sign-in-again"));
    await page.keyboard.press("Escape");
    assert.ok(await page.locator(id("sign-in-again")).isVisible(), "it must be answered");
    await page.fill(`${id("sign-in-again")} ${id("password")}`, PASSWORD);
    await page.click(`${id("sign-in-again")} ${id("sign-in")}`);
    await page.waitForSelector(id("sign-in-again"), { state: "detached" });
    assert.equal(await page.inputValue(id("question")), "一个写了一半的问题");
    assert.equal(await page.inputValue(id("answer")), "一个写了一半的答案");
    // Leaving asks first.
    await page.click(id("nav-documents"));
    await page.waitForSelector(id("ask"));
    await page.keyboard.press("Escape");
    assert.equal(at(page), "/admin/faqs/new");
    await page.click(id("nav-documents"));
    await page.click(id("ask-yes"));
    await page.waitForURL("**/admin/documents");
  });
});

test("every page is there in both languages, both appearances and on a phone", { skip }, async () => {
  const places = ["", "/documents", "/faqs", "/faqs/new", "/drafts", "/versions", "/try", "/golden", "/audit", "/account"];
  for (const [mode, options] of [
    ["light", {}],
    ["dark", { colorScheme: "dark", locale: "en-US" }],
    ["phone", { viewport: PHONE }],
  ]) {
    await onPage({ ...options, expect: [401] }, async (page) => {
      await signIn(page);
      for (const place of places) {
        await open(page, `/admin${place}`);
        await page.waitForSelector(id("title"));
        await page.waitForLoadState("networkidle");
        assert.equal(await page.locator(id("failure")).count(), 0, `${mode} ${place}`);
        await noSidewaysScroll(page, `${mode} ${place}`);
        await shot(page, `admin-${mode}${place.replaceAll("/", "-") || "-overview"}`);
      }
      assert.equal(await page.getAttribute("html", "lang"), mode === "dark" ? "en" : "zh-CN");
      assert.equal(await page.getAttribute("html", "data-theme"), mode === "dark" ? "dark" : "light");
    });
  }
});

test("the menu of a phone opens, leads on and closes", { skip }, async () => {
  await onPage({ viewport: PHONE, expect: [401] }, async (page) => {
    await signIn(page);
    assert.equal(await page.locator(id("nav-faqs")).isVisible(), false);
    await page.click(id("menu"));
    await page.click(id("nav-faqs"));
    await page.waitForURL("**/admin/faqs");
    await page.waitForFunction(() => document.querySelector('[data-testid="menu"]').getAttribute("aria-expanded") === "false");
  });
});

test("a document is uploaded as a draft, tried, published, told to visitors, and rolled back", { skip, timeout: 8 * WAIT }, async () => {
  await onPage({ expect: [401] }, async (page, context) => {
    await signIn(page, "/admin/versions");
    await page.waitForLoadState("networkidle");
    const known = page.locator(id("version")).first();
    const before = (await known.count()) === 0 ? 0 : Number(await known.getAttribute("data-version"));

    await page.click(id("nav-documents"));
    await page.setInputFiles(id("files"), { name: FILE, mimeType: "text/markdown", buffer: Buffer.from(TEXT) });
    await page.check(id("as-draft"));
    await page.click(id("upload"));
    await page.waitForSelector(`${id("import")}[data-state="done"]`, { timeout: WAIT });
    assert.match(await page.innerText(id("outcome")), new RegExp(FILE, "u"));
    await shot(page, "admin-import");
    assert.doesNotMatch(await askAsVisitor(context, QUESTION), new RegExp(String(FEE), "u"), "a draft is told to nobody");

    await page.click(id("nav-drafts"));
    const draft = page.locator(id("draft")).filter({ hasText: FILE });
    await draft.waitFor();
    await draft.locator(id("select")).check();
    await page.click(id("try-selected"));
    await page.fill(id("try-question"), QUESTION);
    await page.click(id("try-ask"));
    await page.waitForSelector(id("trial"), { timeout: WAIT });
    assert.match(await page.innerText(id("trial-answer")), new RegExp(String(FEE), "u"));
    assert.match(await page.innerText(id("stages")), /露营车/u);
    await shot(page, "admin-trial");

    await page.click(id("nav-drafts"));
    await draft.waitFor();
    await draft.getByRole("link").first().click();
    await page.waitForURL("**/admin/drafts/*");
    await page.waitForSelector("dl.compare");
    assert.match(await page.innerText("dl.compare"), new RegExp(`${FEE}元`, "u"));
    await page.click(id("open-revision"));
    await page.waitForSelector(id("text"));
    assert.equal((await page.innerText(id("text"))).trim(), TEXT.trim(), "the text is whole, with its passages marked");
    await page.locator(`${id("passages")} button`).first().click();
    const marked = await page.innerText(".passage-chosen");
    assert.ok(TEXT.includes(marked.trim()) && marked.trim() !== "", marked);
    await shot(page, "admin-document");

    await page.click(id("nav-drafts"));
    await draft.locator(id("select")).check();
    await page.click(id("publish"));
    await page.fill(id("note"), `e2e ${FEE}`);
    await page.click(id("ask-yes"));
    await page.waitForSelector(id("done"), { timeout: 4 * WAIT });
    await draft.waitFor({ state: "detached" });

    // The index follows within moments; the first answer may come before.
    let told = "";
    for (let round = 0; round < 5 && !told.includes(String(FEE)); round += 1) told = await askAsVisitor(context, QUESTION);
    assert.match(told, new RegExp(String(FEE), "u"));

    await page.click(id("nav-versions"));
    const newest = page.locator(id("version")).first();
    await newest.waitFor();
    const published = Number(await newest.getAttribute("data-version"));
    assert.equal(published, before + 1);
    await newest.getByRole("button").first().click();
    await page.waitForSelector(".changes li");
    assert.match(await page.innerText(".changes"), new RegExp(FILE, "u"));
    if (before > 0) {
      await page.locator(`[data-version="${before}"] ${id("rollback")}`).click();
      await page.click(id("ask-yes"));
      await page.waitForSelector(`[data-version="${published + 1}"]`, { timeout: 4 * WAIT });
      await shot(page, "admin-rolled-back");
      let after = String(FEE);
      for (let round = 0; round < 5 && after.includes(String(FEE)); round += 1) after = await askAsVisitor(context, QUESTION);
      assert.doesNotMatch(after, new RegExp(String(FEE), "u"), "what was rolled back is told no more");
    }
  });
});

test("a FAQ is drafted, submitted, rejected and discarded, each step with its question", { skip }, async () => {
  await onPage({ expect: [401] }, async (page) => {
    await signIn(page, "/admin/faqs/new");
    await page.click(id("save"));
    assert.equal(await page.locator('[aria-invalid="true"]').count(), 2, "question and answer are needed");
    await page.fill(id("question"), `e2e 问题 ${FEE}`);
    await page.fill(id("variants"), "另一种问法\n\n另一种问法\n第三种");
    await page.fill(id("answer"), "<img src=x onerror=alert(1)> 答案");
    await page.fill(id("scope-audiences"), "vip，staff");
    await page.click(id("save"));
    await page.waitForSelector(id("done"));
    await page.click(id("nav-drafts"));
    const draft = page.locator(id("draft")).filter({ hasText: `e2e 问题 ${FEE}` });
    await draft.locator(id("submit")).click();
    await page.waitForSelector(id("done"));
    await draft.locator(id("reject")).click();
    await page.click(id("ask-yes"));
    assert.equal(await page.locator(id("reason")).getAttribute("aria-invalid"), "true", "a reason is needed");
    await page.fill(id("reason"), "答案不完整");
    await page.click(id("ask-yes"));
    await draft.waitFor({ state: "detached" });
    await page.selectOption(id("filter"), "rejected");
    await draft.waitFor();
    assert.match(await draft.innerText(), /答案不完整/u);
    await draft.locator(id("discard")).click();
    await page.click(id("ask-yes"));
    await draft.waitFor({ state: "detached" });
  });
});

test("intents are learnt from examples with one click, and a line without an intent is named", { skip }, async () => {
  await onPage({ expect: [401] }, async (page) => {
    await signIn(page, "/admin/intents");
    await page.waitForSelector(id("intents-head"));
    await page.click(id("intents-new"));
    await page.fill(id("intents-lines"), `卡丢了帮我停掉 ${FEE},card/lost\n年费多少`);
    await page.click(id("intents-save"));
    await page.waitForSelector('[aria-invalid="true"]');
    const lost = ["卡不见了", "我的卡被偷了", "找不到银行卡", "卡掉在车上了"].map((text) => `${text} ${FEE},card/lost`);
    const fee = ["年费多少", "每年收多少钱", "金卡要年费吗", "免年费的条件"].map((text) => `${text} ${FEE}\tcard/fee`);
    await page.fill(id("intents-lines"), [...lost, ...fee].join("\n"));
    await page.click(id("intents-save"));
    await page.locator(id("intents")).getByText("card/lost").waitFor();
    await page.click(id("intents-train"));
    await page.locator(`${id("intents-head")}:not(:has(progress))`).getByText(/2 个意图/u).waitFor({ timeout: WAIT });
    await shot(page, "admin-intents");
  });
});
