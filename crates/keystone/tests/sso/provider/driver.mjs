// Providers and browsers for one test: a command per line of standard input, an answer per line of standard output, both JSON.
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { cas } from './cas.mjs';
import { provider } from './provider.mjs';

// What libraries say belongs to nobody's answers.
console.info = console.warn = console.log = console.error;

const WAIT = 60_000;
const profile = mkdtempSync(join(tmpdir(), 'browser-'));
let idp, browser, page;

// Where browsers arrive: whatever is asked for, it is there.
const catcher = createServer((request, response) => response.end('here'));
await new Promise((done) => catcher.listen(0, '127.0.0.1', done));
const landing = `http://127.0.0.1:${catcher.address().port}/callback`;

async function open() {
  if (page) return page;
  browser = await chromium.launchPersistentContext(profile, {
    executablePath: '/usr/bin/chromium', headless: true, locale: 'en-US',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'],
  });
  page = browser.pages()[0] ?? await browser.newPage();
  page.setDefaultTimeout(WAIT);
  return page;
}

/** Logs in on the provider's pages when they ask, and waits until the address begins with `until`. */
async function walk({ url, until, user }) {
  const here = await open();
  const arrived = (address) => address.startsWith(until);
  // What is there may go on by itself: the first address counts, whatever follows it.
  let seen;
  const arrival = new Promise((done) => { seen = (frame) => frame === here.mainFrame() && arrived(frame.url()) && done(frame.url()); });
  here.on('framenavigated', seen);
  try {
    await here.goto(url);
    // A page that goes on by itself has no questions.
    const asked = () => here.locator('input[name=login]').count().catch(() => 0);
    if (!arrived(here.url()) && await asked()) {
      await here.fill('input[name=login]', user);
      await here.fill('input[name=password]', 'anything');
      await here.click('button[type=submit]');
    }
    return { url: await Promise.race([arrival, new Promise((_, no) => setTimeout(no, WAIT, new Error(`${here.url()} is not ${until}`)).unref())]) };
  } finally {
    here.off('framenavigated', seen);
  }
}

const commands = {
  provider: async ({ redirect_uris, ...wish }) => {
    idp = await provider({ redirect_uris: [landing, ...redirect_uris], ...wish });
    return { issuer: idp.issuer, landing };
  },
  person: ({ id, claims }) => { idp.person(id, claims); },
  backchannel: ({ uri }) => { idp.backchannel(uri); },
  forge: ({ how }) => { idp.forge(how); },
  rotate: ({ kid }) => { idp.rotate(kid); },
  logout_token: (wish) => ({ token: idp.logoutToken(wish) }),
  answers: () => ({ answers: idp.answers() }),
  cas: async ({ user, attributes }) => { const server = await cas(); server.is(user, attributes); return { url: server.url }; },
  walk,
  /** Ends the session at the provider, as its user does. */
  end: async () => {
    const here = await open();
    await here.goto(`${idp.issuer}/session/end`);
    await here.click('button[name=logout]');
    await here.waitForURL(/session\/end\/success/);
  },
  forget: async () => { await (await open()).context().clearCookies(); },
  goto: async ({ url }) => { const answer = await (await open()).goto(url); return { status: answer?.status(), headers: answer?.headers() }; },
  fill: async ({ selector, value }) => { await (await open()).fill(selector, value); },
  click: async ({ selector, until }) => {
    const here = await open();
    await here.click(selector);
    if (until) await here.waitForURL((address) => address.href.startsWith(until));
    return { url: here.url() };
  },
  /** What the page says, once it says `contains`. */
  text: async ({ contains }) => {
    const here = await open();
    const body = here.locator('body');
    // Not a function in the page: its policy lets nobody evaluate there.
    if (contains) await body.filter({ hasText: contains }).waitFor({ state: 'attached' }).catch(async (error) => { throw new Error(`${error}\n${await body.innerText()}`); });
    return { text: await body.innerText(), url: here.url(), html: await here.content() };
  },
  cookies: async () => ({ cookies: await (await open()).context().cookies() }),
};

async function close() {
  await browser?.close().catch(() => {});
  rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  process.exit(0);
}

const lines = createInterface({ input: process.stdin });
for await (const line of lines) {
  const { command, ...wish } = JSON.parse(line);
  let answer;
  try {
    answer = (await commands[command](wish)) ?? {};
  } catch (error) {
    answer = { error: `${command}: ${error.stack ?? error}` };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await close();
